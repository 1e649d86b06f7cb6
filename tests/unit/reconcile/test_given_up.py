"""What nothing can be sent for any more ends with its reason, and keeps nobody else waiting."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.identity.permissions import Role
from apps.inventory.stops import lift_stop, stop_writes
from apps.outbox.services import mark_due
from tests.factories import actor
from tests.unit.reconcile.conftest import World


def decided(world: World, request: CoverageRequest) -> None:
    """Approved; no worker has run yet."""
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest)


def test_a_request_of_a_ca_that_was_deleted_outside_fails_with_the_reason(world: World) -> None:
    gone, kept = world.upload("Given Up"), world.upload("Kept On")
    lost, other = world.ask(gone, "a.northwind.example"), world.ask(kept, "b.northwind.example")
    decided(world, lost)
    world.edge.delete_certificate(gone.cloudflare_id)
    CertificateAuthority.objects.filter(pk=gone.pk).update(live_at=timezone.now() - timedelta(days=1))
    world.run_account()
    gone.refresh_from_db()
    assert gone.state == CaState.GONE
    lost = request_by_id(lost.pk)
    assert lost.state == "failed"
    assert "Given Up is gone" in lost.state_reason
    assert "Cover the hostnames with another CA" in lost.state_reason
    assert world.approve(other).state == "done", "what has another CA goes on"


def test_a_request_in_a_zone_that_is_gone_fails_and_may_be_retried(world: World) -> None:
    ca = world.upload("Zone Goes")
    world.edge.add_zone("given-up.example")
    world.run_account()
    zone, request = world.zone("given-up.example"), world.ask(ca, "a.given-up.example", mode="verify")
    stop = stop_writes(by=world.engineer, reason="Nothing goes yet")
    decided(world, request)
    world.run()
    world.edge.remove_zone("given-up.example")
    world.run_account()
    lift_stop(by=actor(Role.ADMIN), stop_id=stop.pk, reason="Looked at")
    mark_due(kind="zone", subject_id=zone.pk)
    world.run()
    request = request_by_id(request.pk)
    assert request.state == "failed"
    assert "no longer lists given-up.example" in request.state_reason
