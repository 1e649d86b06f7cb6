"""Where the rotation of a CA stands."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.api.serializers.common import CaRefSerializer, OneOf, StrictSerializer, TeamRefSerializer, ZoneRefSerializer
from apps.coverage.rotation import Standing, Step


class RotationBodySerializer(StrictSerializer):
    """Ask for the new CA on every hostname of the old one."""

    reason = serializers.CharField()
    ticket = serializers.CharField(required=False, allow_blank=True, default="", max_length=120)


class RotationRowSerializer(serializers.Serializer[Any]):
    """One hostname that is approved for the old CA."""

    hostname = serializers.CharField()
    zone = ZoneRefSerializer()
    owner = TeamRefSerializer(allow_null=True)
    mode = serializers.CharField()
    standing = OneOf([standing.value for standing in Standing])


class RotationSerializer(serializers.Serializer[Any]):
    """`step` is what comes next; it is computed from the CAs, the associations, the edge and the requests."""

    step = OneOf([step.value for step in Step])
    old = CaRefSerializer()
    new = CaRefSerializer(allow_null=True)
    cover_request = serializers.IntegerField(source="cover.pk", allow_null=True, default=None)
    uncover_request = serializers.IntegerField(source="uncover.pk", allow_null=True, default=None)
    clients_confirmed_at = serializers.DateTimeField(source="new.clients_confirmed_at", allow_null=True, default=None)
    on_both = serializers.IntegerField()
    hostnames = RotationRowSerializer(source="rows", many=True)
    unapproved = serializers.ListField(
        child=serializers.CharField(), help_text="At the edge under the old CA without an approval; left alone."
    )
