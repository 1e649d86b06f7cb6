"""Loaded before anything reads the settings: every run of the tests has a data folder of its own.

A pytest plugin (`-p tests.environment`): pytest-django reads the settings before any conftest is imported.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

# How fast the machine is says nothing about the product: no test fails for it.
settings.register_profile("portal", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portal")

FOLDER = Path(os.environ.setdefault("BYOCA_DATA_DIR", tempfile.mkdtemp(prefix="byoca-tests-")))
(FOLDER / "static").mkdir(parents=True, exist_ok=True)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byoca_portal.settings")

# Each of several test processes has a Redis database of its own: portals that shared one would get each other's
# messages.
_base, _, _number = os.environ.get("REDIS_URL", "").rpartition("/")
_worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
if _number.isdigit() and _worker.isdigit():
    os.environ["REDIS_URL"] = f"{_base}/{int(_number) - int(_worker)}"
