"""Resident memory of one process that runs the reconciler for one zone, over and over, without being replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.portal_process import PortalProcess

ROOT = Path(__file__).resolve().parent.parent
CYCLES = """
import os, sys, time
from apps.inventory.models import Zone
from apps.outbox.services import mark_due
from apps.reconcile.zones import run_zone

def resident_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

cycles, zone = int(sys.argv[1]), Zone.objects.filter(vanished_at=None).first()
began = time.monotonic()
for n in range(1, cycles + 1):
    mark_due(kind="zone", subject_id=zone.pk, urgent=False)
    run_zone(zone.pk)
    if n % max(cycles // 10, 1) == 0:
        print(resident_kib(), flush=True)
print(round(cycles / (time.monotonic() - began), 1))
"""


def run_in(portal: PortalProcess, code: str, *arguments: str) -> str:
    """Run code in a process of its own, with the portal's settings, database and edge. Returns what it printed."""
    socket = portal.folder / "broker" / "valkey.sock"
    environment = {
        **portal.environment,
        "DJANGO_SETTINGS_MODULE": "byoca_portal.settings",
        "CLOUDFLARE_API_BASE_URL": str(portal.demo["sandbox"]["base_url"]),
        "BYOCA_BROKER_SOCKET": str(socket),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}", *arguments],
        cwd=ROOT, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    return done.stdout


def memory_over_cycles(portal: PortalProcess, cycles: int) -> dict[str, Any]:
    """Ten measurements, evenly over the cycles. `growth_kib` is from the second to the last: the first fills caches."""
    *measured, rate = run_in(portal, CYCLES, str(cycles)).split()
    resident = [int(value) for value in measured]
    return {
        "cycles": cycles,
        "cycles_per_s": float(rate),
        "resident_kib": resident,
        "growth_kib": resident[-1] - resident[1],
    }
