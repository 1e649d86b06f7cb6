"""What holds writes back: the stop switch and freeze windows."""

from __future__ import annotations

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.common import AccountQuerySerializer, StrictSerializer
from apps.api.serializers.holds import (
    FreezeWindowBodySerializer,
    FreezeWindowSerializer,
    LiftBodySerializer,
    StopBodySerializer,
    StopSerializer,
    StopsQuerySerializer,
)
from apps.errors import Invalid
from apps.inventory.freezes import add_freeze_window, remove_freeze_window
from apps.inventory.holds import freeze_windows, stops_in_force, stops_lifted
from apps.inventory.selectors import account_by_id, zone_by_reference
from apps.inventory.stops import lift_stop, stop_writes


class StopsView(ApiView):
    @operation(
        "stops_list", tag="stops", summary="What is stopped now", answer=StopSerializer, many=True,
        query=StopsQuerySerializer, errors=(400,),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        lifted = self.query(request, StopsQuerySerializer)["lifted"]
        return self.paged(request, stops_lifted() if lifted else stops_in_force(), StopSerializer)

    @operation(
        "stops_create", tag="stops", summary="Stop writes", body=StopBodySerializer, answer=StopSerializer, status=201,
        errors=(400, 403, 404, 409),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, StopBodySerializer)
        scope, account, zone = body["scope"], body.get("account"), body.get("zone")
        if (scope == "account") is not bool(account):
            raise Invalid("Name the account for scope account, and for no other.", field="account")
        if (scope == "zone") is not bool(zone):
            raise Invalid("Name the zone for scope zone, and for no other.", field="zone")
        stop = stop_writes(
            by=self.actor(request),
            reason=body["reason"],
            account_id=account_by_id(account).pk if account else None,
            zone_id=zone_by_reference(zone).pk if zone else None,
        )
        return Response(StopSerializer(stop).data, status=status.HTTP_201_CREATED)


class LiftView(ApiView):
    @operation(
        "stops_lift", tag="stops", summary="Let writes go again", body=LiftBodySerializer, answer=StopSerializer,
        errors=(400, 403, 404, 409),
    )  # fmt: skip
    def post(self, request: Request, stop_id: int) -> Response:
        reason = self.body(request, LiftBodySerializer)["reason"]
        return Response(StopSerializer(lift_stop(by=self.actor(request), stop_id=stop_id, reason=reason)).data)


class FreezeWindowsView(ApiView):
    @operation(
        "freeze_windows_list", tag="freeze windows", summary="Windows of an account", answer=FreezeWindowSerializer,
        many=True, query=AccountQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        account = account_named(self.query(request, AccountQuerySerializer).get("account"))
        return self.paged(request, freeze_windows(account).select_related("account"), FreezeWindowSerializer)

    @operation(
        "freeze_windows_create", tag="freeze windows", summary="Add a window", body=FreezeWindowBodySerializer,
        answer=FreezeWindowSerializer, status=201, errors=(400, 403, 404),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, FreezeWindowBodySerializer)
        zone, account = body.pop("zone", None), account_named(body.pop("account", None))
        window = add_freeze_window(
            by=self.actor(request),
            account_id=account.pk,
            zone_id=zone_by_reference(zone, account_id=account.pk).pk if zone else None,
            **body,
        )
        return Response(FreezeWindowSerializer(window).data, status=status.HTTP_201_CREATED)


class FreezeWindowView(ApiView):
    @operation(
        "freeze_windows_remove", tag="freeze windows", summary="Remove a window", answer=FreezeWindowSerializer,
        errors=(400, 403, 404, 409),
    )  # fmt: skip
    def delete(self, request: Request, window_id: int) -> Response:
        self.query(request, StrictSerializer)
        window = remove_freeze_window(by=self.actor(request), window_id=window_id)
        return Response(FreezeWindowSerializer(window).data)
