"""Certificate authorities and the inspection of an upload."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.api.serializers.common import (
    AccountQuerySerializer,
    AccountRefSerializer,
    CaRefSerializer,
    OneOf,
    StrictSerializer,
    TeamRefSerializer,
)
from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.identity.models import Team
from apps.pki.candidates import Candidate

CHOOSE_HELP = "SHA-256 fingerprint of the certificate that is meant, when `pem` holds several."
EXPIRED_HELP = "True: an expired CA is admitted with a caution. False: it is refused."
ACCOUNT_HELP = "Portal's or Cloudflare's id. May be left out when there is only one account."


def client_issuers_field() -> OneOf:
    """Asked, never guessed: null is an answer too."""
    words = "Who signs the clients: `self` is this CA. Null: not known, so no rule is pinned to it."
    return OneOf(["self"], required=False, allow_null=True, default=None, help_text=words)


def owner_team_field() -> serializers.SlugRelatedField[Team]:
    return serializers.SlugRelatedField(
        slug_field="slug",
        queryset=Team.objects.all(),
        required=False,
        allow_null=True,
        default=None,
        error_messages={
            "does_not_exist": "No such team. Use a team's slug.",
            "invalid": "Use a team's slug.",
        },
        help_text="A team's slug.",
    )


class InspectBodySerializer(StrictSerializer):
    """An upload to judge. Nothing is stored."""

    pem = serializers.CharField(trim_whitespace=False)
    account = serializers.CharField(required=False, help_text=ACCOUNT_HELP)
    name = serializers.CharField(required=False, allow_blank=True, default="", help_text="To check that it is free.")
    choose = serializers.CharField(required=False, allow_blank=True, default="", help_text=CHOOSE_HELP)
    accept_expired = serializers.BooleanField(required=False, default=False, help_text=EXPIRED_HELP)


class CaBodySerializer(StrictSerializer):
    """An upload."""

    account = serializers.CharField(required=False, help_text=ACCOUNT_HELP)
    name = serializers.CharField()
    pem = serializers.CharField(trim_whitespace=False)
    client_issuers = client_issuers_field()
    reason = serializers.CharField(required=False, allow_blank=True, default="")
    choose = serializers.CharField(required=False, allow_blank=True, default="", help_text=CHOOSE_HELP)
    accept_expired = serializers.BooleanField(required=False, default=False, help_text=EXPIRED_HELP)
    owner_team = owner_team_field()
    replaces = serializers.CharField(
        required=False, allow_null=True, default=None, help_text="The live CA that this one takes over from: its id."
    )


class AdoptBodySerializer(StrictSerializer):
    """A CA that the account holds and the portal has no record of."""

    account = serializers.CharField(required=False, help_text=ACCOUNT_HELP)
    cloudflare_id = serializers.CharField(help_text="Cloudflare's id of the CA, as drift and slots name it.")
    name = serializers.CharField()
    client_issuers = client_issuers_field()
    owner_team = owner_team_field()
    reason = serializers.CharField()


class DeleteBodySerializer(StrictSerializer):
    """Why a CA goes."""

    reason = serializers.CharField(required=False, allow_blank=True, default="")


class CaQuerySerializer(AccountQuerySerializer):
    """Filters of the list of CAs. Deleted ones are listed only when asked for."""

    state = OneOf([state.value for state in CaState], required=False)


class FindingSerializer(serializers.Serializer[Any]):
    """One check of an upload."""

    check = serializers.CharField()
    severity = serializers.CharField(help_text="passed, note, caution or refuse")
    message = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    citation = serializers.CharField(allow_blank=True, help_text="Where the rule comes from.")


class SlotsSerializer(serializers.Serializer[Any]):
    """The account's CA slots."""

    limit = serializers.IntegerField()
    used = serializers.IntegerField()
    free = serializers.IntegerField()


class InspectionSerializer(serializers.Serializer[Any]):
    """What an upload is, and whether it would be admitted."""

    verdict = OneOf(["refuse", "caution", "accept"])
    findings = FindingSerializer(many=True)
    certificates = serializers.SerializerMethodField(
        help_text="Facts of each certificate, with its position, role, verdict, the position of its signer, "
        "whether it is the chosen one, and the id of the CA here that holds it already."
    )
    slots = SlotsSerializer()

    def get_certificates(self, inspection: Any) -> list[dict[str, Any]]:
        return [self._certificate(candidate, inspection) for candidate in inspection.candidates]

    def _certificate(self, candidate: Candidate, inspection: Any) -> dict[str, Any]:
        known = inspection.known.get(candidate.fingerprint)
        return {
            **candidate.to_dict(),
            "chosen": candidate is inspection.chosen,
            "known_as": str(known.pk) if known else None,
        }


class IssuerSerializer(serializers.Serializer[Any]):
    """One known direct issuer of client certificates. `source` is self, intermediate or sample."""

    ski = serializers.CharField()
    source = serializers.CharField()
    subject = serializers.CharField()
    not_after = serializers.CharField(allow_blank=True)
    note = serializers.CharField(allow_blank=True)


class CaSerializer(serializers.ModelSerializer[CertificateAuthority]):
    """A CA. `cloudflare_id` is null until the edge knows it; `state` ends at `live`.

    `expiry_threshold_days` is the nearest mark before its end that was reached and recorded.
    """

    cloudflare_id = serializers.SerializerMethodField()
    client_issuers = serializers.SerializerMethodField()
    issuers = IssuerSerializer(many=True)
    account = AccountRefSerializer()
    owner_team = TeamRefSerializer(allow_null=True)
    replaces = CaRefSerializer(allow_null=True)
    replaced_by = CaRefSerializer(allow_null=True)
    expiry_threshold_days = serializers.SerializerMethodField()
    uploaded_by = serializers.CharField(source="uploaded_by_label")
    findings = serializers.ListField(child=serializers.DictField(), help_text="Cautions at the upload.")
    facts = serializers.DictField()

    class Meta:
        model = CertificateAuthority
        fields = (
            "id", "cloudflare_id", "account", "name", "adopted", "state", "state_reason", "fingerprint", "ski",
            "not_before", "not_after", "expiry_threshold_days", "client_issuers", "issuers", "replaces", "replaced_by",
            "owner_team", "reason", "facts", "findings", "pem", "uploaded_by", "created_at", "live_at", "deleted_at",
            "delete_reason",
        )  # fmt: skip
        read_only_fields = fields

    def get_cloudflare_id(self, ca: CertificateAuthority) -> str | None:
        return ca.cloudflare_id or None

    def get_expiry_threshold_days(self, ca: CertificateAuthority) -> int | None:
        return min((notice.threshold_days for notice in ca.expiry_notices.all()), default=None)

    def get_client_issuers(self, ca: CertificateAuthority) -> str | None:
        return ca.client_issuers or None
