"""Runs Django's deployment check with deployed settings and throw-away secrets; any warning fails."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

SETTINGS = {
    "BYOCA_MODE": "deployed",
    "BYOCA_SECRET_KEY": secrets.token_urlsafe(64),
    "BYOCA_ENCRYPTION_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
    "BYOCA_ALLOWED_HOSTS": "portal.example",
    "BYOCA_TRUSTED_ORIGINS": "https://portal.example",
    "REDIS_URL": "redis://broker.example/0",
}

if __name__ == "__main__":
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    root = Path(__file__).resolve().parent.parent
    sys.exit(subprocess.run(command, cwd=root, env={**os.environ, **SETTINGS}, check=False).returncode)
