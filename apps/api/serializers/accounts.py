"""Accounts and zones."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.api.serializers.common import AccountRefSerializer, StrictSerializer
from apps.inventory.holds import Holds, hold_on_account
from apps.inventory.limits import numbers_of
from apps.inventory.models import Account, Zone
from apps.inventory.tokens import tokens_held


class HoldSerializer(serializers.Serializer[Any]):
    """What holds writes back: stop, read_only or frozen. `until` is null when a person has to end it."""

    kind = serializers.CharField()
    sentence = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)


class ScopeResultSerializer(serializers.Serializer[Any]):
    """One permission of a token of the account: passed, failed, unproven, excess or unknown, and why."""

    scope = serializers.CharField()
    result = serializers.CharField()
    detail = serializers.CharField()


class ReadTokenSerializer(serializers.Serializer[Any]):
    """What the account is read with: unknown, working or broken, and what its last check found."""

    state = serializers.CharField()
    scope_check = ScopeResultSerializer(many=True, source="checks")
    scope_checked_at = serializers.DateTimeField(source="checked_at", allow_null=True)


class AccountSerializer(serializers.ModelSerializer[Account]):
    """An account. Its Cloudflare tokens are never part of an answer."""

    hold = serializers.SerializerMethodField(help_text="Null when approved changes are sent.")
    scope_check = ScopeResultSerializer(many=True)
    read_token = serializers.SerializerMethodField(help_text="Null when the one token reads and writes.")

    @extend_schema_field(ReadTokenSerializer(allow_null=True))
    def get_read_token(self, account: Account) -> Any:
        held = tokens_held(account)
        return ReadTokenSerializer(held[1]).data if len(held) > 1 else None

    @extend_schema_field(HoldSerializer(allow_null=True))
    def get_hold(self, account: Account) -> Any:
        hold = hold_on_account(account.pk)
        return HoldSerializer(hold).data if hold else None

    class Meta:
        model = Account
        fields = (
            "id",
            "cloudflare_id",
            "name",
            "mode",
            "token_state",
            "slot_limit",
            "heal_missing",
            "read_at",
            "failing_since",
            "call_limit",
            "call_share_percent",
            "scope_check",
            "scope_checked_at",
            "read_token",
            "hold",
        )
        read_only_fields = fields


class ReadTokenBodySerializer(StrictSerializer):
    """A Cloudflare token that may only read the account."""

    token = serializers.CharField()


class SlotLimitBodySerializer(StrictSerializer):
    """How many CA slots Cloudflare gives the account."""

    slot_limit = serializers.IntegerField()
    reason = serializers.CharField()


class HealingBodySerializer(StrictSerializer):
    """Whether sweeps put back approved hostnames that somebody took off a list."""

    enabled = serializers.BooleanField()
    reason = serializers.CharField()


class LimitsSerializer(serializers.Serializer[Any]):
    """How much may go from a zone's lists before a guard asks for an override."""

    percent = serializers.IntegerField()
    few = serializers.IntegerField()
    most_percent = serializers.IntegerField()
    total = serializers.IntegerField()
    pairs = serializers.IntegerField()
    window_hours = serializers.IntegerField()


class LimitsBodySerializer(StrictSerializer):
    """A limit that is left out or null goes back to its default."""

    percent = serializers.IntegerField(required=False, allow_null=True)
    few = serializers.IntegerField(required=False, allow_null=True)
    most_percent = serializers.IntegerField(required=False, allow_null=True)
    total = serializers.IntegerField(required=False, allow_null=True)
    pairs = serializers.IntegerField(required=False, allow_null=True)
    window_hours = serializers.IntegerField(required=False, allow_null=True)
    reason = serializers.CharField()


class ZoneSerializer(serializers.ModelSerializer[Zone]):
    """A zone, as last listed by Cloudflare. `cloudflare_plan` is Cloudflare's name of it, "" when not said."""

    account = AccountRefSerializer()
    removal_limits = serializers.SerializerMethodField()
    hold = serializers.SerializerMethodField(help_text="Null when approved changes are sent.")

    @extend_schema_field(LimitsSerializer())
    def get_removal_limits(self, zone: Zone) -> Any:
        return LimitsSerializer(numbers_of(zone)).data

    @extend_schema_field(HoldSerializer(allow_null=True))
    def get_hold(self, zone: Zone) -> Any:
        holds: dict[Any, Holds] = self.root.context.setdefault("holds", {})
        if zone.account_id not in holds:
            holds[zone.account_id] = Holds(zone.account)
        hold = holds[zone.account_id].on_zone(zone.pk)
        return HoldSerializer(hold).data if hold else None

    class Meta:
        model = Zone
        fields = (
            "id", "cloudflare_id", "name", "account", "status", "paused", "cloudflare_plan", "removal_limits",
            "read_at", "failing_since", "hold",
        )  # fmt: skip
        read_only_fields = fields
