"""`manage.py sandbox`: see `apps/sandbox/command.py`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.sandbox import command


class Command(BaseCommand):
    help = "Run a local stand-in for Cloudflare. Nothing there reaches the internet."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        command.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(
            command.run(
                port=options["port"],
                bind=options["bind"],
                data_dir=options["data_dir"],
                with_seed=options["seed"],
            )
        )
