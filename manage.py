#!/usr/bin/env python
"""Command line of the portal."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["inspect_pem"]:
        # For pipelines: no settings are read, so no data folder is made, and it starts at once.
        from apps.pki.command import main

        sys.exit(main(sys.argv[2:]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byoca_portal.settings")
    if sys.argv[1:2] == ["up"]:
        # Wiring of all parts: it starts before Django does, which writes its secrets into the data folder.
        from byoca_portal.supervisor.up import main as up

        sys.exit(up(sys.argv[2:]))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
