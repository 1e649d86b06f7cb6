"""Loaded before anything reads the settings: every run of the tests has a data folder of its own.

A pytest plugin (`-p tests.environment`): pytest-django reads the settings before any conftest is imported.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

FOLDER = Path(os.environ.setdefault("BYOCA_DATA_DIR", tempfile.mkdtemp(prefix="byoca-tests-")))
(FOLDER / "static").mkdir(parents=True, exist_ok=True)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byoca_portal.settings")
