"""Probes of one hostname: read, and ask for one."""

from __future__ import annotations

from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.common import StrictSerializer
from apps.api.serializers.coverage import HostnameQuerySerializer
from apps.api.serializers.probes import HostnameProbeSerializer
from apps.probing.selectors import probe_of
from apps.probing.services import ask_probe
from apps.reconcile.row_types import HostnameRow
from apps.reconcile.selectors import hostname_detail


class HostnameProbeView(ApiView):
    @operation(
        "hostnames_probe_read", tag="coverage", summary="What probes of a hostname saw", answer=HostnameProbeSerializer,
        query=HostnameQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request, fqdn: str) -> Response:
        return Response(self._answer(request, self._row(request, fqdn)))

    @operation(
        "hostnames_probe", tag="coverage", summary="Ask for a probe of a hostname now", answer=HostnameProbeSerializer,
        query=HostnameQuerySerializer, status=202, errors=(400, 403, 404, 409),
    )  # fmt: skip
    def post(self, request: Request, fqdn: str) -> Response:
        self.body(request, StrictSerializer)
        row = self._row(request, fqdn)
        ask_probe(by=self.actor(request), zone=row.zone, hostname=row.hostname)
        return Response(self._answer(request, row), status=status.HTTP_202_ACCEPTED)

    def _row(self, request: Request, fqdn: str) -> HostnameRow:
        account = account_named(self.query(request, HostnameQuerySerializer).get("account"))
        return hostname_detail(account, fqdn).row

    def _answer(self, request: Request, row: HostnameRow) -> dict[str, Any]:
        probe = probe_of(self.actor(request), row.zone, row.hostname)
        cas = [{"ca": ca, "named": named} for ca, named in probe.cas]
        values = {name: getattr(probe, name) for name in probe.__dataclass_fields__}
        answer: dict[str, Any] = HostnameProbeSerializer({**values, "cas": cas, "hostname": row.hostname}).data
        return answer
