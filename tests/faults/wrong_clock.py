"""`python -m tests.faults.wrong_clock HOURS WORDS...` is celery with these words, on a host whose clock is that wrong.

The wall clock is another for Python and for everything in it, before the first import of the product; the monotonic
clock, other processes and the database's own time are right.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import time_machine


def main() -> None:
    hours, *words = sys.argv[1:]
    time_machine.travel(datetime.now(UTC) + timedelta(hours=int(hours)), tick=True).start()
    from celery.__main__ import main as celery

    sys.argv = ["celery", *words]
    celery()


if __name__ == "__main__":
    main()
