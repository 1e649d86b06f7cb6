"""The building blocks of the page. Every text goes through `escape`; there is no script and no inline style."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def card(title: str, inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inside}</section>"


def button(text: str, kind: str = "") -> str:
    return f'<button type="submit" class="{kind}">{text}</button>' if kind else f'<button type="submit">{text}</button>'


def form(act: str, inside: str, **hidden: str) -> str:
    """A form of the page; `act` names what it does, `hidden` goes along unseen."""
    fields = {"act": act, **hidden}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in fields.items())
    return f'<form method="post" action="/">{inputs}{inside}</form>'


def line(text: str, *forms: str) -> str:
    """A sentence with its buttons; `text` is HTML."""
    return f'<div class="line"><p>{text}</p>{"".join(forms)}</div>'


def select(key: str, name: str, options: Iterable[tuple[str, str]], chosen: str) -> str:
    """`options` are (value, words)."""
    shown = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(words)}</option>'
        for value, words in options
    )
    return f'<select id="{key}" name="{name}">{shown}</select>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
