"""An account that nobody has adopted yet: each reading of a zone finds thousands of differences again."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.reconcile.models import Drift
from tests.unit.reconcile.conftest import World


def test_a_reading_asks_the_database_no_more_for_what_it_has_seen_before(world: World) -> None:
    ca = world.upload("Strangers")

    def queries(count: int) -> int:
        world.edge.edit("northwind.example", ca.cloudflare_id, [f"s{n}.northwind.example" for n in range(count)])
        world.sweep()
        seen = Drift.objects.filter(ca=ca, resolved_at=None).first()
        assert seen
        with CaptureQueriesContext(connection) as captured:
            world.sweep()
        again = Drift.objects.get(pk=seen.pk)
        assert again.last_seen_at > seen.last_seen_at
        return len(captured)

    assert queries(40) == queries(4)
