"""Stops and freeze windows."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.api.serializers.common import (
    AccountRefSerializer,
    OneOf,
    PageQuerySerializer,
    StrictSerializer,
    ZoneRefSerializer,
)
from apps.inventory.freezes import describe
from apps.inventory.models import FreezeWindow, Stop


class StopSerializer(serializers.ModelSerializer[Stop]):
    """Writes are, or were, stopped. `account` and `zone` are null where it holds for all."""

    account = AccountRefSerializer(allow_null=True)
    zone = ZoneRefSerializer(allow_null=True)

    class Meta:
        model = Stop
        fields = (
            "id", "scope", "account", "zone", "reason", "cause", "stopped_by_label", "stopped_at", "lifted_by_label",
            "lifted_at",
        )  # fmt: skip
        read_only_fields = fields


class StopsQuerySerializer(PageQuerySerializer):
    """Which stops."""

    lifted = serializers.BooleanField(required=False, default=False, help_text="True: those that were lifted.")


class StopBodySerializer(StrictSerializer):
    """What to stop. `scope` is said in full, so that a forgotten name does not stop everything."""

    scope = OneOf(Stop.Scope.values)
    account = serializers.CharField(required=False, help_text="Portal's or Cloudflare's id. For scope account.")
    zone = serializers.CharField(required=False, help_text="An id or the name. For scope zone.")
    reason = serializers.CharField(max_length=2000)


class LiftBodySerializer(StrictSerializer):
    """Why it is safe to go on."""

    reason = serializers.CharField(max_length=2000)


class FreezeWindowSerializer(serializers.ModelSerializer[FreezeWindow]):
    """A window. Times of weekly ones are wall-clock times of `timezone`; `when` says it in words."""

    account = AccountRefSerializer()
    zone = ZoneRefSerializer(allow_null=True)
    weekdays = serializers.ListField(child=serializers.IntegerField(), help_text="0 is Monday.")
    when = serializers.SerializerMethodField()

    class Meta:
        model = FreezeWindow
        fields = (
            "id", "account", "zone", "name", "effect", "repeats", "timezone", "weekdays", "opens", "closes",
            "starts_at", "ends_at", "when", "created_by_label", "created_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.CharField())
    def get_when(self, window: FreezeWindow) -> str:
        return describe(window)


class NaiveOrAware(serializers.DateTimeField):
    """With an offset, or without one: then it is a wall-clock time of the window's zone."""

    def enforce_timezone(self, value: Any) -> Any:
        return value


class FreezeWindowBodySerializer(StrictSerializer):
    """A new window. Weekly: `weekdays`, `opens`, `closes`. Once: `starts_at`, `ends_at`."""

    account = serializers.CharField(required=False, help_text="May be left out when there is only one account.")
    zone = serializers.CharField(required=False, help_text="An id or the name. Left out: the whole account.")
    name = serializers.CharField(max_length=120)
    effect = OneOf(FreezeWindow.Effect.values, required=False, default=FreezeWindow.Effect.DENY.value)
    repeats = OneOf(FreezeWindow.Repeats.values)
    timezone = serializers.CharField(max_length=64, help_text="IANA name, for example Europe/Berlin.")
    weekdays = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6), required=False, default=list, max_length=7
    )
    opens = serializers.TimeField(required=False, default=None)
    closes = serializers.TimeField(required=False, default=None)
    starts_at = NaiveOrAware(required=False, default=None)
    ends_at = NaiveOrAware(required=False, default=None)
