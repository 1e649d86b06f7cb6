"""A client certificate rehearsed against an account."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.api.serializers.cas import ACCOUNT_HELP
from apps.api.serializers.common import CaRefSerializer, OneOf, StrictSerializer, ZoneRefSerializer
from apps.reconcile.rehearsals import Status

STATUSES = [status.value for status in Status]


class RehearsalBodySerializer(StrictSerializer):
    """A client certificate to judge. Nothing of it is stored."""

    certificate = serializers.CharField(
        trim_whitespace=False, help_text="PEM: the client certificate, with its intermediates. Never a private key."
    )
    account = serializers.CharField(required=False, help_text=ACCOUNT_HELP)
    hostname = serializers.CharField(
        required=False, allow_blank=True, default="", help_text="Only this hostname; empty: every one of the account."
    )


class PathCertificateSerializer(serializers.Serializer[Any]):
    """One certificate of a path."""

    subject = serializers.CharField()
    fingerprint = serializers.CharField(help_text="SHA-256 of the DER, lower-case hex.")
    ski = serializers.CharField(allow_blank=True, help_text="Upper-case hex.")
    not_before = serializers.DateTimeField()
    not_after = serializers.DateTimeField()


class ClientCertificateSerializer(PathCertificateSerializer):
    """What was pasted."""

    issuer = serializers.CharField()
    serial_hex = serializers.CharField()
    aki = serializers.CharField(allow_blank=True, help_text="Key identifier of the issuer, upper-case hex.")


class ReasonSerializer(serializers.Serializer[Any]):
    """Why not, or what to mind."""

    code = serializers.CharField(help_text="expired, wrong_ca, unknown_issuer, missing_intermediate, ...")
    message = serializers.CharField()
    detail = serializers.CharField()
    needed_ski = serializers.CharField(allow_blank=True, help_text="Key identifier of a certificate that is missing.")


class CaVerdictSerializer(serializers.Serializer[Any]):
    """What one CA makes of it. `ca` is null for a CA that only the edge knows; `path` begins with the client."""

    ca = CaRefSerializer(allow_null=True)
    label = serializers.CharField()
    at_edge = serializers.BooleanField()
    accepted = serializers.BooleanField(source="verdict.accepted")
    until = serializers.SerializerMethodField()
    issuer_ski = serializers.CharField(
        source="verdict.issuer_ski", allow_blank=True, help_text="What a rule has to be pinned to."
    )
    path = PathCertificateSerializer(source="verdict.path", many=True)
    sends = PathCertificateSerializer(
        source="verdict.sends", many=True, help_text="Intermediates that the client has to send along."
    )
    reasons = ReasonSerializer(source="verdict.reasons", many=True)
    cautions = ReasonSerializer(source="verdict.cautions", many=True)

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_until(self, row: Any) -> str | None:
        """Null unless accepted: an end means nothing for what is refused anyway."""
        until = row.verdict.until if row.verdict.accepted else None
        return serializers.DateTimeField().to_representation(until) if until else None


class HostnameVerdictSerializer(serializers.Serializer[Any]):
    """What one hostname would make of the client, from the last read of the edge."""

    hostname = serializers.CharField()
    zone = ZoneRefSerializer()
    accepted = serializers.BooleanField()
    status = OneOf(STATUSES)
    sentence = serializers.CharField()
    caution = serializers.CharField(allow_blank=True)
    ca = CaRefSerializer(source="by.ca", allow_null=True, default=None)
    ca_label = serializers.CharField(source="by.label", default="", allow_blank=True)
    until = serializers.DateTimeField(allow_null=True)
    issuer_ski = serializers.CharField(allow_blank=True, help_text="What the rule has to be pinned to.")
    rule = OneOf(["enforced", "logging", "paused", "no_rule"])
    pins = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="Issuer SKIs the rule asks for; null: not pinned."
    )
    reasons = ReasonSerializer(many=True)
    read_at = serializers.DateTimeField(source="zone.read_at", allow_null=True)


class RehearsalSerializer(serializers.Serializer[Any]):
    """The whole answer. `reason` says why no CA accepts the client, null when one does."""

    certificate = ClientCertificateSerializer(source="client")
    reason = ReasonSerializer(allow_null=True)
    accepted = serializers.SerializerMethodField(help_text="How many hostnames accept it.")
    refused = serializers.SerializerMethodField(help_text="How many hostnames refuse it.")
    cas = CaVerdictSerializer(many=True)
    hostnames = HostnameVerdictSerializer(many=True)
    unjudged = serializers.ListField(
        child=serializers.CharField(), help_text="CAs at the edge whose certificate cannot be read."
    )

    def get_accepted(self, result: Any) -> int:
        return len(result.accepting)

    def get_refused(self, result: Any) -> int:
        return len(result.refusing)
