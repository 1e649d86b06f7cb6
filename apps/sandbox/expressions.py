"""A small reader of filter expressions, strict enough to refuse what Cloudflare refuses.

https://developers.cloudflare.com/ruleset-engine/rules-language/ . It knows the fields and operators that custom rules
about hostnames, paths and client certificates use, checks their types, and words its complaints as Cloudflare does:
line, column, the expression, and a mark below the place. What it reads can be asked about a request.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from apps.sandbox import expression_values as values
from apps.sandbox.expression_values import Facts, Value
from apps.sandbox.expression_words import FIELDS, FUNCTIONS, OPERATORS

MAX_LENGTH = 4096
DEPTH = 50
TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\]|\\.)*"|r(?P<hashes>\#*)".*?"(?P=hashes))
    |(?P<address>\d+\.\d+\.\d+\.\d+(?:/\d+)?|[0-9A-Fa-f]*:[0-9A-Fa-f:]+(?:/\d+)?)
    |(?P<int>-?\d+)
    |(?P<range>\.\.)
    |(?P<list>\$[a-z0-9_.]+)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    |(?P<sign>&&|\|\||\^\^|==|!=|<=|>=|[<>~!(){}\[\],*])""",
    re.VERBOSE | re.DOTALL,
)


class ParseError(ValueError):
    """The whole complaint as Cloudflare writes it."""


@dataclass(frozen=True)
class Lexeme:
    kind: str
    text: str
    at: int


def check(expression: str) -> None:
    """Raises ParseError when the expression is not one that decides yes or no."""
    read(expression)


@lru_cache(maxsize=1024)
def read(expression: str) -> Callable[[Facts], bool]:
    """The test that the expression is. Raises ParseError; the test itself raises NotPlayed."""
    reader = _Reader(expression)
    test = reader.either()
    if reader.current.kind != "end":
        reader.fail("unrecognised input")
    return lambda facts: bool(test(facts))


class _Reader:
    """One method per level of precedence; each leaves `current` on the lexeme after what it read."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.depth = 0
        self.lexemes = list(self._split())
        self.place = 0

    @property
    def current(self) -> Lexeme:
        return self.lexemes[self.place]

    def fail(self, why: str, lexeme: Lexeme | None = None) -> None:
        lexeme = lexeme or self.current
        before = self.expression[: lexeme.at]
        line, column = before.count("\n") + 1, lexeme.at - (before.rfind("\n") + 1)
        shown = self.expression.split("\n")[line - 1]
        mark = " " * column + "^" * max(1, len(lexeme.text))
        raise ParseError(f"Filter parsing error ({line}:{column + 1}):\n{shown}\n{mark} {why}")

    def _split(self) -> list[Lexeme]:
        found, at = [], 0
        while at < len(self.expression):
            match = TOKEN.match(self.expression, at)
            if match is None:
                why = "missing ending quote" if self.expression[at] == '"' else "unrecognised input"
                self.fail(why, Lexeme("bad", self.expression[at], at))
                break
            if match.lastgroup != "space":
                kind = "string" if match["string"] is not None else str(match.lastgroup)
                found.append(Lexeme(kind, match.group(), at))
            at = match.end()
        return [*found, Lexeme("end", "", len(self.expression))]

    def take(self, *texts: str) -> bool:
        taken = self.current.kind in ("word", "sign") and self.current.text in texts
        self.place += taken
        return taken

    def need(self, text: str, why: str) -> None:
        if not self.take(text):
            self.fail(why)

    def either(self) -> Value:
        test = self.differing()
        while self.take("or", "||"):
            test = _either(test, self.differing())
        return test

    def differing(self) -> Value:
        test = self.both()
        while self.take("xor", "^^"):
            test = _differing(test, self.both())
        return test

    def both(self) -> Value:
        test = self.single()
        while self.take("and", "&&"):
            test = _both(test, self.single())
        return test

    def single(self) -> Value:
        self.depth += 1
        if self.depth > DEPTH:
            self.fail("the expression is nested too deeply")
        if self.take("not", "!"):
            test = _opposite(self.single())
        elif self.take("("):
            test = self.either()
            self.need(")", "expected ')'")
        else:
            test = self.comparison()
        self.depth -= 1
        return test

    def comparison(self) -> Value:
        start = self.current
        kind, left = self.value()
        operator = self.current
        words = (operator.text, self.lexemes[min(self.place + 1, len(self.lexemes) - 1)].text)
        name = " ".join(words) if words == ("strict", "wildcard") else operator.text
        if operator.kind not in ("word", "sign") or name not in OPERATORS:
            if kind != "bool":
                self.fail("expected an operator" if operator.kind == "end" else "unknown operator")
            return left
        self.place += 2 if name == "strict wildcard" else 1
        allowed, right = OPERATORS[name]
        if kind not in allowed:
            self.fail(f"cannot perform this operation on type {kind}", start)
        if right == "set":
            return values.compare(name, left, self.members(kind))
        return values.compare(name, left, values.constant(self.literal("string" if right == "text" else kind)))

    def value(self) -> tuple[str, Value]:
        """A field or a call, with its type."""
        lexeme = self.current
        if lexeme.kind != "word":
            self.fail("unexpected end of input" if lexeme.kind == "end" else "expected an identifier")
        self.place += 1
        if lexeme.text in ("true", "false"):
            return "bool", values.constant(lexeme.text == "true")
        if lexeme.text in FUNCTIONS and self.take("("):
            return FUNCTIONS[lexeme.text], values.call(lexeme.text, self.arguments(lexeme))
        kind = FIELDS.get(lexeme.text)
        if kind is None:
            self.fail("unknown identifier", lexeme)
        return self.index(kind or "", values.field(lexeme.text, kind or ""))

    def index(self, kind: str, found: Value) -> tuple[str, Value]:
        while kind.endswith("[]"):
            if not self.take("["):
                break
            if self.current.kind in ("string", "int") or self.current.text == "*":
                found = values.item(found, "*" if self.current.text == "*" else _plain(self.current))
                self.place += 1
            self.need("]", "expected ']'")
            kind = kind.removesuffix("[]")
        return kind, found

    def arguments(self, function: Lexeme) -> list[Value]:
        found: list[Value] = []
        self.depth += 1
        if self.depth > DEPTH:
            self.fail("the expression is nested too deeply", function)
        while not self.take(")"):
            if self.current.kind in ("string", "int"):
                found.append(values.constant(_plain(self.current)))
                self.place += 1
            elif function.text in ("any", "all"):
                found.append(self.comparison())
            else:
                found.append(self.value()[1])
            if not self.take(",") and self.current.text != ")":
                self.fail("expected ')'")
        self.depth -= 1
        return found

    def members(self, kind: str) -> Value:
        """`{...}` with spaces between the members, or a named list."""
        if self.current.kind == "list":
            self.place += 1
            return values.named_list(self.lexemes[self.place - 1].text)
        self.need("{", "expected '{' or a list")
        found: list[tuple[Any, Any]] = []
        while not self.take("}"):
            low = high = self.literal(kind)
            if self.current.kind == "range":
                self.place += 1
                high = self.literal(kind)
            found.append((low, high))
        if not found:
            self.fail("expected a value", self.lexemes[self.place - 1])
        return values.constant(found)

    def literal(self, kind: str) -> Any:
        lexeme = self.current
        if lexeme.kind != {"bool": "word", "ip": "address"}.get(kind, kind):
            self.fail(f"expected a value of type {kind}")
        self.place += 1
        try:
            return _plain(lexeme)
        except ValueError:
            return self.fail("this is not an address", lexeme)


def _plain(lexeme: Lexeme) -> Any:
    """What a literal stands for. Raises ValueError for an address that is none."""
    if lexeme.kind == "int":
        return int(lexeme.text)
    if lexeme.kind == "address":
        return ipaddress.ip_network(lexeme.text, strict=False)
    return values.text_of(lexeme.text) if lexeme.kind == "string" else lexeme.text


def _either(left: Value, right: Value) -> Value:
    return lambda facts: left(facts) or right(facts)


def _differing(left: Value, right: Value) -> Value:
    return lambda facts: bool(left(facts)) != bool(right(facts))


def _both(left: Value, right: Value) -> Value:
    return lambda facts: left(facts) and right(facts)


def _opposite(test: Value) -> Value:
    return lambda facts: not test(facts)
