"""Row 9 under an issuer that the portal trusts: nothing but the name, or the date, of the certificate is wrong.

The client trusts the roots of `certifi` and nothing that a variable of the environment names. So the portal's processes
get a `certifi` of the test's own before the installed one, as a distribution's packages have theirs: the same roots and
one more. What checks a certificate is the product's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from tests.certs import Made, make_ca
from tests.faults.accounts import account, failing, move, told, writes
from tests.faults.driver import TEMPO, Driver
from tests.faults.front import EXPIRED, GOOD, WRONG_NAME, Front
from tests.faults.portals import FaultPortal
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
ZONE = "northwind.example"
REFUSED = "could not prove to be Cloudflare"


@pytest.fixture(scope="module")
def issuer() -> Made:
    return make_ca("Front Test Root")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="byoca-trust-") as path:
        yield Path(path)


# An impostor is told once an hour, so each has a portal of its own.
@pytest.fixture(scope="module", params=[WRONG_NAME, EXPIRED])
def portal(issuer: Made, folder: Path) -> Iterator[FaultPortal]:
    roots, package = folder / "roots.pem", folder / "path" / "certifi"
    roots.write_text(Path(certifi.where()).read_text(encoding="ascii") + issuer.pem, encoding="ascii")
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(f"def where(): return {str(roots)!r}\n")
    path = os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH", "")]))
    with FaultPortal(**TEMPO, PYTHONPATH=path) as running:
        yield running


@pytest.fixture
def front(driver: Driver, issuer: Made, folder: Path) -> Iterator[Front]:
    """What the account's address leads to."""
    made = Front(folder, issuer, int(driver.edge.origin.rpartition(":")[2]))
    move(driver, made.url)
    yield made
    move(driver, "")
    made.close()


def test_r9_a_certificate_of_a_trusted_issuer_with_one_fault_is_told_nothing(
    driver: Driver, front: Front, request: pytest.FixtureRequest
) -> None:
    kind = str(request.node.callspec.params["portal"])
    driver.zone(ZONE)
    ca = driver.upload("Trusted Root")
    driver.cover(ca, f"before.{ZONE}")
    assert front.heard[GOOD] > 0, "the issuer is trusted: with nothing wrong all of that went this way"
    row, events = driver.ask(ca, f"after.{ZONE}"), len(driver.audit())
    front.show(kind)
    since = driver.seq()
    driver.approve(row)
    wait_for(lambda: front.offered[kind] > 3 and failing(driver, ZONE), within_s=90, saying="it was tried, and again")
    wait_for(lambda: account(driver)["failing_since"], within_s=60, saying="the account says it")
    assert REFUSED in driver.page("/accounts/"), "and why"
    assert driver.request(row)["state"] in {"approved", "applying"}, "it waits"
    assert front.heard[kind] == 0, "not a byte was sent, least of all the token"
    assert writes(driver, since) == []
    front.show(GOOD)
    driver.done(row)
    assert driver.at_edge(ZONE, ca) == sorted([f"after.{ZONE}", f"before.{ZONE}"])
    assert len(driver.puts(ZONE, since)) == 1
    wait_for(lambda: not account(driver)["failing_since"], within_s=60, saying="the account is read again")
    [event] = told(driver, "account:impostor_met", events)
    assert REFUSED in event["reason"]
