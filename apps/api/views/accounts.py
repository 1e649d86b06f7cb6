"""Accounts and zones, to read."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.accounts import AccountSerializer, SlotLimitBodySerializer, ZoneSerializer
from apps.api.serializers.common import AccountQuerySerializer, PageQuerySerializer
from apps.inventory.selectors import account_by_id, accounts, zones_of
from apps.inventory.services import set_slot_limit


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


class ZonesView(ApiView):
    @operation(
        "zones_list", tag="accounts", summary="Zones of an account", answer=ZoneSerializer, many=True,
        query=AccountQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        account = account_named(self.query(request, AccountQuerySerializer).get("account"))
        return self.paged(request, zones_of(account).select_related("account"), ZoneSerializer)
