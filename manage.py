#!/usr/bin/env python
"""Command line of the portal."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byoca_portal.settings")
    if sys.argv[1:2] == ["up"]:
        # Wiring of all parts: it starts before Django does, which writes its secrets into the data folder.
        from byoca_portal.supervisor.up import Up

        sys.exit(Up().run())
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
