"""A small reader of filter expressions, strict enough to refuse what Cloudflare refuses.

https://developers.cloudflare.com/ruleset-engine/rules-language/ . It knows the fields and operators that custom rules
about hostnames, paths and client certificates use, checks their types, and words its complaints as Cloudflare does:
line, column, the expression, and a mark below the place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    reader = _Reader(expression)
    reader.either()
    if reader.current.kind != "end":
        reader.fail("unrecognised input")


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

    def either(self) -> None:
        self.differing()
        while self.take("or", "||"):
            self.differing()

    def differing(self) -> None:
        self.both()
        while self.take("xor", "^^"):
            self.both()

    def both(self) -> None:
        self.single()
        while self.take("and", "&&"):
            self.single()

    def single(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            self.fail("the expression is nested too deeply")
        if self.take("not", "!"):
            self.single()
        elif self.take("("):
            self.either()
            self.need(")", "expected ')'")
        else:
            self.comparison()
        self.depth -= 1

    def comparison(self) -> None:
        start = self.current
        kind = self.value()
        operator = self.current
        words = (operator.text, self.lexemes[min(self.place + 1, len(self.lexemes) - 1)].text)
        name = " ".join(words) if words == ("strict", "wildcard") else operator.text
        if operator.kind not in ("word", "sign") or name not in OPERATORS:
            if kind != "bool":
                self.fail("expected an operator" if operator.kind == "end" else "unknown operator")
            return
        self.place += 2 if name == "strict wildcard" else 1
        allowed, right = OPERATORS[name]
        if kind not in allowed:
            self.fail(f"cannot perform this operation on type {kind}", start)
        if right == "set":
            self.members(kind)
        else:
            self.literal("string" if right == "text" else kind)

    def value(self) -> str:
        """A field or a call; returns its type."""
        lexeme = self.current
        if lexeme.kind != "word":
            self.fail("unexpected end of input" if lexeme.kind == "end" else "expected an identifier")
        self.place += 1
        if lexeme.text in ("true", "false"):
            return "bool"
        if lexeme.text in FUNCTIONS and self.take("("):
            return self.arguments(lexeme)
        kind = FIELDS.get(lexeme.text)
        if kind is None:
            self.fail("unknown identifier", lexeme)
        return self.index(kind or "")

    def index(self, kind: str) -> str:
        while kind.endswith("[]"):
            if not self.take("["):
                break
            self.place += self.current.kind in ("string", "int") or self.current.text == "*"
            self.need("]", "expected ']'")
            kind = kind.removesuffix("[]")
        return kind

    def arguments(self, function: Lexeme) -> str:
        self.depth += 1
        if self.depth > DEPTH:
            self.fail("the expression is nested too deeply", function)
        while not self.take(")"):
            if self.current.kind in ("string", "int"):
                self.place += 1
            elif function.text in ("any", "all"):
                self.comparison()
            else:
                self.value()
            if not self.take(",") and self.current.text != ")":
                self.fail("expected ')'")
        self.depth -= 1
        return FUNCTIONS[function.text]

    def members(self, kind: str) -> None:
        """`{...}` with spaces between the members, or a named list."""
        if self.current.kind == "list":
            self.place += 1
            return
        self.need("{", "expected '{' or a list")
        count = 0
        while not self.take("}"):
            self.literal(kind)
            if self.current.kind == "range":
                self.place += 1
                self.literal(kind)
            count += 1
        if not count:
            self.fail("expected a value", self.lexemes[self.place - 1])

    def literal(self, kind: str) -> None:
        if self.current.kind != {"bool": "word", "ip": "address"}.get(kind, kind):
            self.fail(f"expected a value of type {kind}")
        self.place += 1
