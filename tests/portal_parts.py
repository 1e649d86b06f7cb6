"""Database, Redis and stand-in without web or workers, for tests that run the product's code in their own processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.portal_process import PortalProcess
from tests.sandbox_server import SandboxProcess
from tests.valkey_process import ValkeyProcess

ROOT = Path(__file__).resolve().parent.parent
ADD_ACCOUNT = """
from apps.identity.actors import Actor
from apps.inventory.services import add_account
import sys
by = Actor("portal", "portal:test", "Portal (test)", "cli")
add_account(by=by, name="Main", cloudflare_id=sys.argv[1], token=sys.argv[2], mode="read_write")
"""


class PortalParts(PortalProcess):
    """`with PortalParts() as parts:` has one account, that of the stand-in. Redis is a server of the test's own."""

    def start(self) -> None:
        self.sandbox = SandboxProcess(self.folder / "sandbox")
        self.sandbox.start()
        self.redis = ValkeyProcess(self.folder)
        self.redis.start()
        self.environment |= {
            "REDIS_URL": self.redis.url,
            "CLOUDFLARE_API_BASE_URL": self.sandbox.base_url,
            "DJANGO_SETTINGS_MODULE": "byoca_portal.settings",
        }
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=self.environment, check=True
        )
        self.finish(self.run(ADD_ACCOUNT, self.sandbox.account_id, self.sandbox.token))

    def stop(self, _number: int = 0) -> int:
        self.redis.stop()
        return self.sandbox.stop()

    def run(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """A process of its own, with Django set up."""
        return subprocess.Popen(
            [sys.executable, "-c", f"import django; django.setup()\n{code}", *arguments],
            cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, *processes: subprocess.Popen[str]) -> list[str]:
        """What each printed. Raises AssertionError with its words when one failed."""
        said = []
        for process in processes:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err[-2000:]
            said.append(out)
        return said
