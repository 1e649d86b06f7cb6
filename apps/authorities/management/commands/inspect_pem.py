"""`manage.py inspect_pem`, listed with the other commands. `manage.py` itself starts it without Django."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.pki import command


class Command(BaseCommand):
    help = f"{command.HELP} {command.EXIT_CODES}"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        command.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code = command.run(
            options["paths"],
            jsonl=options["jsonl"],
            choose=options["choose"],
            accept_expired=options["accept_expired"],
            out=self.stdout,  # type: ignore[arg-type]
            err=self.stderr,  # type: ignore[arg-type]
        )
        if code:
            sys.exit(code)
