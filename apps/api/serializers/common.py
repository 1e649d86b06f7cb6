"""Shapes that several resources share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from apps.api.pagination import MOST_PER_PAGE
from apps.api.parsers import shown


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know: a misspelt `mode` must not become the default mode."""

    def to_internal_value(self, data: Mapping[str, Any]) -> dict[str, Any]:
        known = self.fields.keys()
        if unknown := [name for name in data if name not in known]:
            sentence = f"Unknown field. Known here: {', '.join(known) or 'none'}."
            raise serializers.ValidationError({shown(name): [sentence] for name in unknown})
        checked: dict[str, Any] = super().to_internal_value(data)
        return checked


class OneOf(serializers.ChoiceField):
    """A choice whose refusal lists the choices instead of repeating what was sent."""

    def __init__(self, choices: list[str], **more: Any) -> None:
        super().__init__(choices, **more)
        self.error_messages["invalid_choice"] = f"Use one of: {', '.join(choices)}."


class PageQuerySerializer(StrictSerializer):
    """Parameters of every list."""

    page = serializers.IntegerField(min_value=1, required=False)
    page_size = serializers.IntegerField(min_value=1, max_value=MOST_PER_PAGE, required=False)


class AccountQuerySerializer(PageQuerySerializer):
    """Lists of things in one account."""

    account = serializers.CharField(
        required=False,
        help_text="Portal's or Cloudflare's id. May be left out when there is only one account.",
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """Every refusal."""

    detail = serializers.CharField(help_text="What happened and what to do, for people.")
    code = serializers.CharField(help_text="Stable, for programs.")
    errors = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="Sentences by field; may be empty.",
    )
    reference = serializers.CharField(required=False, help_text="Names this failure in the portal's log. 500 only.")


class AccountRefSerializer(serializers.Serializer[Any]):
    """An account, named inside something else."""

    id = serializers.UUIDField()
    cloudflare_id = serializers.CharField()
    name = serializers.CharField()


class ZoneRefSerializer(AccountRefSerializer):
    """A zone, named inside something else."""


class CaRefSerializer(serializers.Serializer[Any]):
    """A CA, named inside something else. `cloudflare_id` is null until the edge knows it."""

    id = serializers.UUIDField()
    cloudflare_id = serializers.SerializerMethodField()
    name = serializers.CharField()

    def get_cloudflare_id(self, ca: Any) -> str | None:
        return ca.cloudflare_id or None


class TeamRefSerializer(serializers.Serializer[Any]):
    """A team, named inside something else."""

    slug = serializers.CharField()
    name = serializers.CharField()
