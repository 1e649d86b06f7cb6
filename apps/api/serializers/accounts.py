"""Accounts and zones."""

from __future__ import annotations

from rest_framework import serializers

from apps.api.serializers.common import AccountRefSerializer, StrictSerializer
from apps.inventory.models import Account, Zone


class AccountSerializer(serializers.ModelSerializer[Account]):
    """An account. Its Cloudflare token is never part of an answer."""

    class Meta:
        model = Account
        fields = (
            "id",
            "cloudflare_id",
            "name",
            "mode",
            "token_state",
            "slot_limit",
            "read_at",
            "failing_since",
        )
        read_only_fields = fields


class SlotLimitBodySerializer(StrictSerializer):
    """How many CA slots Cloudflare gives the account."""

    slot_limit = serializers.IntegerField()
    reason = serializers.CharField()


class ZoneSerializer(serializers.ModelSerializer[Zone]):
    """A zone, as last listed by Cloudflare."""

    account = AccountRefSerializer()

    class Meta:
        model = Zone
        fields = ("id", "cloudflare_id", "name", "account", "status", "paused", "read_at", "failing_since")
        read_only_fields = fields
