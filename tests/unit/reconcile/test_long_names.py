"""What others named at length, in the dashboard or by another tool, keeps no account from being read."""

from __future__ import annotations

from apps.inventory.models import EdgeCertificate
from tests.certs import make_ca
from tests.unit.reconcile.conftest import World


def test_a_certificate_with_a_long_name_fits_into_its_column(world: World) -> None:
    foreign = world.edge.add_certificate("Partner gateway " * 20, make_ca("Long").pem)
    world.run_account()
    row = EdgeCertificate.objects.get(account=world.account, cloudflare_id=foreign)
    # SQLite stores what is too long, PostgreSQL refuses it: the account's every run would end there.
    assert row.name.startswith("Partner gateway")
    assert len(row.name) <= 255
