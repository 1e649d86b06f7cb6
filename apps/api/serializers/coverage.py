"""Hostnames as the portal answers for them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.api.serializers.common import (
    AccountQuerySerializer,
    CaRefSerializer,
    StrictSerializer,
    TeamRefSerializer,
    ZoneRefSerializer,
)

ACCOUNT_HELP = "Portal's or Cloudflare's id. May be left out when there is only one account."


class HostnameQuerySerializer(StrictSerializer):
    """Which account."""

    account = serializers.CharField(required=False, help_text=ACCOUNT_HELP)


class AssociationQuerySerializer(AccountQuerySerializer):
    """Filters of the table of associations."""

    q = serializers.CharField(required=False, allow_blank=True, help_text="A part of the hostname.")
    zone = serializers.CharField(required=False, allow_blank=True)
    ca = serializers.CharField(required=False, allow_blank=True)
    answer = serializers.CharField(required=False, allow_blank=True)
    owner = serializers.CharField(required=False, allow_blank=True, help_text="A team's slug.")
    sort = serializers.CharField(required=False, allow_blank=True)


class RuleSerializer(serializers.Serializer[Any]):
    """The enforcement rule. `pinned` is null where there is no rule to pin."""

    state = serializers.CharField(help_text="enforced, logging, paused, no_rule, queued, altered or zone_gone")
    pinned = serializers.BooleanField(allow_null=True)
    detail = serializers.CharField(allow_blank=True)


class CellSerializer(serializers.Serializer[Any]):
    """One hostname under one CA. `ca` is null when the edge names a CA that the portal does not know."""

    key = serializers.CharField()
    ca = CaRefSerializer(allow_null=True)
    ca_label = serializers.CharField()
    state = serializers.CharField(
        help_text="live, queued, pushing, missing, unexpected, removing, failed, zone_gone or none"
    )
    since = serializers.DateTimeField(allow_null=True)
    request_id = serializers.IntegerField(allow_null=True)


class AssociationRowSerializer(serializers.Serializer[Any]):
    """One hostname with a cell for every CA of the account."""

    hostname = serializers.CharField()
    zone = ZoneRefSerializer()
    owner_team = TeamRefSerializer(source="owner", allow_null=True)
    answer = serializers.CharField(help_text="protected, locked_out, ...")
    sentence = serializers.CharField()
    cells = CellSerializer(many=True)
    rule = RuleSerializer()
    request_id = serializers.IntegerField(allow_null=True)
    changed_at = serializers.DateTimeField(allow_null=True)
    read_at = serializers.DateTimeField(allow_null=True)


class HostnameCaSerializer(serializers.Serializer[Any]):
    """A CA of a hostname, with where that stands at the edge."""

    id = serializers.UUIDField(allow_null=True)
    cloudflare_id = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    state = serializers.CharField()
    live_at = serializers.DateTimeField(allow_null=True)


class HostnameSerializer(serializers.Serializer[Any]):
    """The whole answer for one hostname."""

    hostname = serializers.CharField(source="row.hostname")
    zone = ZoneRefSerializer(source="row.zone")
    answer = serializers.CharField(source="row.answer")
    sentence = serializers.CharField(source="row.sentence")
    cas = serializers.SerializerMethodField()
    rule = RuleSerializer(source="row.rule")
    owner_team = TeamRefSerializer(source="row.owner", allow_null=True)
    read_at = serializers.DateTimeField(source="row.read_at", allow_null=True)

    @extend_schema_field(HostnameCaSerializer(many=True))
    def get_cas(self, detail: Any) -> list[dict[str, Any]]:
        held = [cell for cell in detail.row.cells if cell.state != "none"]
        return list(HostnameCaSerializer([_ca(cell) for cell in held], many=True).data)


def _ca(cell: Any) -> dict[str, Any]:
    known = cell.ca
    return {
        "id": known.pk if known else None,
        "cloudflare_id": (known.cloudflare_id or None) if known else None,
        "name": cell.ca_label,
        "state": cell.state,
        "live_at": cell.since if cell.state == "live" else None,
    }


class AsOfQuerySerializer(StrictSerializer):
    """Which instant."""

    account = serializers.CharField(required=False)
    at = serializers.DateTimeField(help_text="ISO 8601; without an offset it is UTC.")


class TrustedSerializer(serializers.Serializer[Any]):
    """One CA that the edge listed then. `approved_by` is empty for an entry that nobody here approved."""

    ca = serializers.CharField()
    fingerprint = serializers.CharField()
    from_at = serializers.DateTimeField()
    until_at = serializers.DateTimeField(allow_null=True)
    approved_by = serializers.CharField()
    request = serializers.IntegerField(source="request_id", allow_null=True)


class AsOfSerializer(serializers.Serializer[Any]):
    """The edge as it was read at an instant. `known` is false before the zone was first read and in the future."""

    at = serializers.DateTimeField()
    known = serializers.BooleanField()
    watched_since = serializers.DateTimeField(allow_null=True)
    cas = TrustedSerializer(many=True)
    rule = serializers.CharField(help_text="block, log, or empty")
    pinned = serializers.BooleanField()
