"""Accounts and zones, and the numbers that are set for them."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.accounts import (
    AccountSerializer,
    HealingBodySerializer,
    LimitsBodySerializer,
    ReadTokenBodySerializer,
    SlotLimitBodySerializer,
    ZoneSerializer,
)
from apps.api.serializers.common import AccountQuerySerializer, PageQuerySerializer
from apps.inventory.limits import set_limits
from apps.inventory.selectors import account_by_id, accounts, zone_by_reference, zones_of
from apps.inventory.services import set_healing, set_slot_limit
from apps.inventory.token_services import remove_read_token, store_read_token


class AccountsView(ApiView):
    @operation(
        "accounts_list", tag="accounts", summary="Cloudflare accounts", answer=AccountSerializer, many=True,
        query=PageQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        self.query(request, PageQuerySerializer)
        return self.paged(request, accounts(), AccountSerializer)


class SlotLimitView(ApiView):
    @operation(
        "accounts_slot_limit", tag="accounts", summary="Say how many CA slots the account has",
        body=SlotLimitBodySerializer, answer=AccountSerializer, errors=(400, 403, 404),
    )  # fmt: skip
    def put(self, request: Request, account_id: str) -> Response:
        body = self.body(request, SlotLimitBodySerializer)
        account = set_slot_limit(by=self.actor(request), account_id=account_by_id(account_id).pk, **body)
        return Response(AccountSerializer(account).data)


class HealingView(ApiView):
    @operation(
        "accounts_healing", tag="accounts", summary="Switch healing of missing hostnames on or off",
        body=HealingBodySerializer, answer=AccountSerializer, errors=(400, 403, 404),
    )  # fmt: skip
    def put(self, request: Request, account_id: str) -> Response:
        body = self.body(request, HealingBodySerializer)
        account = set_healing(by=self.actor(request), account_id=account_by_id(account_id).pk, **body)
        return Response(AccountSerializer(account).data)


class ReadTokenView(ApiView):
    @operation(
        "accounts_read_token", tag="accounts", summary="Store or replace the token that the account is read with",
        body=ReadTokenBodySerializer, answer=AccountSerializer, errors=(400, 403, 404),
    )  # fmt: skip
    def put(self, request: Request, account_id: str) -> Response:
        body = self.body(request, ReadTokenBodySerializer)
        account = store_read_token(by=self.actor(request), account_id=account_by_id(account_id).pk, **body)
        return Response(AccountSerializer(account).data)

    @operation(
        "accounts_read_token_remove", tag="accounts", summary="Forget the read token: one token reads and writes",
        answer=AccountSerializer, errors=(403, 404, 409),
    )  # fmt: skip
    def delete(self, request: Request, account_id: str) -> Response:
        account = remove_read_token(by=self.actor(request), account_id=account_by_id(account_id).pk)
        return Response(AccountSerializer(account).data)


class LimitsView(ApiView):
    @operation(
        "zones_limits", tag="accounts", summary="Set how much may go from a zone before a guard refuses",
        body=LimitsBodySerializer, answer=ZoneSerializer, errors=(400, 403, 404),
    )  # fmt: skip
    def put(self, request: Request, zone_id: str) -> Response:
        body = self.body(request, LimitsBodySerializer)
        reason = body.pop("reason")
        zone = set_limits(by=self.actor(request), zone_id=zone_by_reference(zone_id).pk, limits=body, reason=reason)
        return Response(ZoneSerializer(zone).data)


class ZonesView(ApiView):
    @operation(
        "zones_list", tag="accounts", summary="Zones of an account", answer=ZoneSerializer, many=True,
        query=AccountQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        account = account_named(self.query(request, AccountQuerySerializer).get("account"))
        return self.paged(request, zones_of(account).select_related("account"), ZoneSerializer)
