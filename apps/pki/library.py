"""The cryptography library, kept quiet."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# `warnings.catch_warnings` swaps state of the whole process: two threads inside it could leave it swapped.
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """The library warns of what it may refuse one day (BER containers, odd parameters). The checks speak of it."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
