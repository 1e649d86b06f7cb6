"""What people type: reasons, comments, tickets, names. None of it may hold a private key (INV-35, INV-38).

Two lines of defence. At the door (web/middleware.py, api/parsers.py) a text that holds a key is exchanged for REMOVED
before anything else reads it, so no page, log, error or row can repeat it, whatever the field. The service then refuses
the text in words, at its field, because REMOVED is taken for a key like the key itself.
"""

from __future__ import annotations

from apps.errors import Invalid
from apps.pki.hints import PRIVATE_KEY
from apps.pki.private_keys import holds_private_key

REMOVED = "PRIVATE KEY REMOVED"
KEY_ADVICE = (
    "It was dropped: nothing of it was stored or logged. It did leave your machine, so treat the key as exposed and "
    "replace it. Then type this text anew."
)
KEY_FAULT = f"{PRIVATE_KEY.message}. {KEY_ADVICE}"
NUL_FAULT = "This text holds a NUL character, which cannot be stored. Type it anew."


def without_private_key(text: str) -> str:
    """The text, or REMOVED in its place."""
    return REMOVED if holds_private_key(text) else text


def text_fault(text: str, missing: str = "") -> str:
    """Why a text cannot be stored, or "". `missing` is what to say of an empty one, "" where it may be empty."""
    if holds_private_key(text):
        return KEY_FAULT
    if "\0" in text:
        return NUL_FAULT
    return "" if text.strip() else missing


def text_faults(**texts: str) -> dict[str, list[str]]:
    """The same for texts that may be empty, by the field that each is named after."""
    return {field: [fault] for field, text in texts.items() if (fault := text_fault(text))}


def free_text(text: str, field: str, missing: str = "") -> str:
    """The text without blanks around it. Raises Invalid with its fault."""
    if fault := text_fault(text, missing):
        raise Invalid(fault, field=field)
    return text.strip()
