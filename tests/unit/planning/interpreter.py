"""What the edge makes of a custom rule: a small interpreter of Cloudflare's rules language, for proofs.

Written from https://developers.cloudflare.com/ruleset-engine/rules-language/ (operators, values, functions) and from
nothing in apps/planning, so that a mistake there is not repeated here. What it does not know it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

MAX_LENGTH = 4096
# https://developers.cloudflare.com/ruleset-engine/rules-language/fields/reference/ : empty or false without mTLS.
BOOLEANS = {f"cf.tls_client_auth.cert_{name}": name for name in ("presented", "verified", "revoked")}
STRINGS = {"http.host": "host", "http.request.uri.path": "path", "cf.tls_client_auth.cert_issuer_ski": "issuer_ski"}
TOKEN = re.compile(
    r"""\s*(?:(?P<raw>r(?P<hashes>\#*)"(?P<inner>.*?)"(?P=hashes))
    |(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<word>[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*)
    |(?P<sign>&&|\|\||\^\^|==|!=|[!(){},~]))""",
    re.VERBOSE | re.DOTALL,
)


class NotUnderstood(ValueError):
    """The expression leaves the subset, or is none."""


@dataclass(frozen=True)
class Request:
    """What the edge knows of one request. A client without a certificate has the defaults."""

    host: str
    presented: bool = False
    verified: bool = False
    revoked: bool = False
    issuer_ski: str = ""
    path: str = "/"


class Rule(Protocol):
    """Any rule, of plans or of reads."""

    @property
    def action(self) -> str: ...
    @property
    def expression(self) -> str: ...


Test = Callable[[Request], bool]
Text = Callable[[Request], str]


def refused(rules: Iterable[Rule], request: Request) -> bool:
    """Whether a request is blocked. Rules run in order; block and skip end it, log does not. Rules off are ignored."""
    for rule in rules:
        if getattr(rule, "enabled", True) and rule.action != "log" and matches(rule.expression, request):
            return rule.action == "block"
    return False


def matches(expression: str, request: Request) -> bool:
    return compiled(expression)(request)


@lru_cache(maxsize=100_000)
def compiled(expression: str) -> Test:
    """Raises NotUnderstood."""
    if len(expression) > MAX_LENGTH:
        raise NotUnderstood(f"{len(expression)} characters")
    reader = _Reader(_tokens(expression))
    test = reader.either()
    if reader.tokens:
        raise NotUnderstood(f"left over: {reader.tokens[0]}")
    return test


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, at, text = [], 0, expression.rstrip()
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None:
            raise NotUnderstood(text[at : at + 20])
        if token["raw"] is not None:
            found.append(("string", token["inner"]))
        elif token["quoted"] is not None:
            found.append(("string", _unescaped(token["quoted"][1:-1])))
        else:
            found.append(("word", token["word"] or token["sign"]))
        at = token.end()
    return found


def _unescaped(text: str) -> str:
    if re.search(r"\\[^\"\\]", text.replace(r"\\", "")):
        raise NotUnderstood(f"escape in {text}")
    return re.sub(r"\\(.)", r"\1", text)


class _Reader:
    """One method per level of precedence: or, xor, and, not."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens

    def take(self, *words: str) -> bool:
        if self.tokens and self.tokens[0] in {("word", word) for word in words}:
            self.tokens.pop(0)
            return True
        return False

    def need(self, word: str) -> None:
        if not self.take(word):
            raise NotUnderstood(f"expected {word} before {self.tokens[:1]}")

    def string(self) -> str:
        if not self.tokens or self.tokens[0][0] != "string":
            raise NotUnderstood(f"expected a string before {self.tokens[:1]}")
        return self.tokens.pop(0)[1]

    def either(self) -> Test:
        tests = [self.differing()]
        while self.take("or", "||"):
            tests.append(self.differing())
        return lambda request: any(test(request) for test in tests)

    def differing(self) -> Test:
        tests = [self.both()]
        while self.take("xor", "^^"):
            tests.append(self.both())
        return lambda request: sum(test(request) for test in tests) % 2 == 1

    def both(self) -> Test:
        tests = [self.single()]
        while self.take("and", "&&"):
            tests.append(self.single())
        return lambda request: all(test(request) for test in tests)

    def single(self) -> Test:
        if self.take("not", "!"):
            test = self.single()
            return lambda request: not test(request)
        if self.take("("):
            inner = self.either()
            self.need(")")
            return inner
        if self.take("true"):
            return lambda _: True
        if self.take("starts_with"):
            return self.prefix()
        if self.tokens and self.tokens[0][1] in BOOLEANS and self.tokens[0][0] == "word":
            name = BOOLEANS[self.tokens.pop(0)[1]]
            return lambda request: bool(getattr(request, name))
        return self.comparison(self.text())

    def prefix(self) -> Test:
        self.need("(")
        text = self.text()
        self.need(",")
        start = self.string()
        self.need(")")
        return lambda request: text(request).startswith(start)

    def text(self) -> Text:
        if self.take("lower"):
            self.need("(")
            inner = self.text()
            self.need(")")
            return lambda request: inner(request).lower()
        kind, word = self.tokens.pop(0) if self.tokens else ("end", "")
        if kind != "word" or word not in STRINGS:
            raise NotUnderstood(f"unknown identifier {word}")
        return lambda request: str(getattr(request, STRINGS[word]))

    def comparison(self, text: Text) -> Test:
        if self.take("eq", "=="):
            value = self.string()
            return lambda request: text(request) == value
        if self.take("ne", "!="):
            value = self.string()
            return lambda request: text(request) != value
        if self.take("contains"):
            value = self.string()
            return lambda request: value in text(request)
        if self.take("matches", "~"):
            pattern = _pattern(self.string())
            return lambda request: pattern.search(text(request)) is not None
        self.need("in")
        self.need("{")
        values = {self.string()}
        while not self.take("}"):
            values.add(self.string())
        return lambda request: text(request) in values


def _pattern(text: str) -> re.Pattern[str]:
    """Of Rust's syntax what Python writes alike; only `$`, which there is the very end, has another name here."""
    if re.search(r"\[|\\[^.]|\\\.\$\S", text):
        raise NotUnderstood(f"pattern {text}")
    return re.compile(text.replace("$", r"\Z"))
