"""What the words of a filter expression do once it is read: fields, functions, operators and literals.

A `Value` takes the facts of one request, field name -> value; a field without a fact is empty, false or 0.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

Facts = Mapping[str, Any]
Value = Callable[[Facts], Any]
EMPTY: dict[str, Any] = {"bool": False, "string": "", "int": 0, "ip": "0.0.0.0"}  # noqa: S104 - no interface


class NotPlayed(ValueError):
    """The expression is good, and needs something that the sandbox does not have."""


def field(name: str, kind: str) -> Value:
    empty = EMPTY.get(kind, ())
    return lambda facts: facts.get(name, empty)


def item(whole: Value, key: Any) -> Value:
    """One member of an array or a map; "*" is all of them."""

    def take(facts: Facts) -> Any:
        found = whole(facts)
        if key == "*":
            return [part for parts in found.values() for part in parts] if isinstance(found, Mapping) else list(found)
        if isinstance(found, Mapping):
            return found.get(key, ())
        return found[key] if isinstance(key, int) and key < len(found) else ""

    return take


def call(name: str, arguments: Sequence[Value]) -> Value:
    if name in ("any", "all"):
        decide = any if name == "any" else all
        return lambda facts: decide(_listed(arguments[0](facts))) if arguments else False
    function = FUNCTIONS.get(name)

    def run(facts: Facts) -> Any:
        if function is None:
            raise NotPlayed(f"the function {name} is not played here")
        try:
            return function(*(argument(facts) for argument in arguments))
        except (TypeError, ValueError, IndexError):
            raise NotPlayed(f"{name} was given something it does not take") from None

    return run


def compare(sign: str, left: Value, right: Value) -> Value:
    """A list on the left is compared member by member."""
    test = OPERATORS[sign]

    def decide(facts: Facts) -> Any:
        found, wanted = left(facts), right(facts)
        if isinstance(found, list):
            return [test(part, wanted) for part in found]
        return test(found, wanted)

    return decide


def constant(value: Any) -> Value:
    return lambda _facts: value


def named_list(name: str) -> Value:
    def refuse(_facts: Facts) -> Any:
        raise NotPlayed(f"the list {name} is not played here")

    return refuse


def text_of(literal: str) -> str:
    """The text that a quoted or raw string stands for."""
    raw = re.fullmatch(r'r(#*)"(.*)"\1', literal, re.DOTALL)
    if raw:
        return raw[2]
    return re.sub(r"\\(x[0-9A-Fa-f]{2}|.)", _unescaped, literal[1:-1], flags=re.DOTALL)


def _unescaped(found: re.Match[str]) -> str:
    escape = found[1]
    if len(escape) == 3:
        return chr(int(escape[1:], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(escape, escape)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _member(value: Any, members: Sequence[tuple[Any, Any]]) -> bool:
    """`members` are (lowest, highest) pairs, equal ends for a single value; addresses may be networks."""
    return any(_between(value, low, high) for low, high in members)


def _between(value: Any, low: Any, high: Any) -> bool:
    if isinstance(low, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        address = ipaddress.ip_address(value)
        inside = int(low.network_address) <= int(address) <= int(high.broadcast_address)
        return inside and address.version == low.version
    return bool(low <= value <= high)


def _same(left: Any, right: Any) -> bool:
    if isinstance(right, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        return ipaddress.ip_address(left) in right
    return bool(left == right)


@lru_cache(maxsize=256)
def _glob(pattern: str, flags: int) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), flags | re.DOTALL)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "lower": str.lower,
    "upper": str.upper,
    "len": len,
    "concat": lambda *parts: "".join(map(str, parts)),
    "to_string": lambda value: str(value).lower() if isinstance(value, bool) else str(value),
    "to_int": int,
    "url_decode": lambda text, *_options: unquote(text),
    "substring": lambda text, start, end=None: text[start:end],
    "has_key": lambda mapping, key: key in mapping,
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("eq", "=="), _same),
    **dict.fromkeys(("ne", "!="), lambda left, right: not _same(left, right)),
    **dict.fromkeys(("lt", "<"), operator.lt),
    **dict.fromkeys(("le", "<="), operator.le),
    **dict.fromkeys(("gt", ">"), operator.gt),
    **dict.fromkeys(("ge", ">="), operator.ge),
    "contains": operator.contains,
    **dict.fromkeys(("matches", "~"), lambda left, right: re.search(right, left) is not None),
    "wildcard": lambda left, right: _glob(right, re.IGNORECASE).fullmatch(left) is not None,
    "strict wildcard": lambda left, right: _glob(right, 0).fullmatch(left) is not None,
    "in": _member,
}
