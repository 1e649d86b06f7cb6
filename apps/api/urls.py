"""Paths of the REST API. `/api/docs/` is a page and lives with the pages."""

from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView

from apps.api.views.accounts import AccountsView, HealingView, LimitsView, ReadTokenView, SlotLimitView, ZonesView
from apps.api.views.audit import AuditView
from apps.api.views.break_glass import BreakGlassesView, BreakGlassView, ReturnView, ReviewView
from apps.api.views.cas import CaAdoptView, CaRetryView, CasView, CaView, InspectView
from apps.api.views.coverage import (
    AsOfView,
    AssociationsView,
    ChangeView,
    DriftIgnoreView,
    DriftShowView,
    DriftView,
    HostnameView,
    UndoView,
)
from apps.api.views.fallback import UnknownPathView
from apps.api.views.holds import FreezeWindowsView, FreezeWindowView, LiftView, StopsView
from apps.api.views.probes import HostnameProbeView
from apps.api.views.rehearsals import RehearsalsView
from apps.api.views.requests import (
    ApproveView,
    CancelView,
    OverridesView,
    RebuildView,
    RejectView,
    RemoveServedElsewhereView,
    RequestsView,
    RequestView,
    WithdrawView,
)
from apps.api.views.rotation import RotationConfirmView, RotationReleaseView, RotationView

app_name = "api"

# The document tells nothing about this installation, so tools may read it without a token.
# JSON comes first: it is what a client gets that does not ask for YAML.
schema = SpectacularAPIView.as_view(
    renderer_classes=[OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer2, OpenApiYamlRenderer],
    authentication_classes=[],
    permission_classes=[],
)

urlpatterns = [
    path("schema/", schema, name="schema"),
    path("v1/accounts/", AccountsView.as_view(), name="accounts"),
    path("v1/accounts/<str:account_id>/slot-limit/", SlotLimitView.as_view(), name="slot-limit"),
    path("v1/accounts/<str:account_id>/read-token/", ReadTokenView.as_view(), name="read-token"),
    path("v1/accounts/<str:account_id>/healing/", HealingView.as_view(), name="healing"),
    path("v1/zones/", ZonesView.as_view(), name="zones"),
    path("v1/zones/<str:zone_id>/limits/", LimitsView.as_view(), name="limits"),
    path(
        "v1/zones/<str:zone_id>/remove-served-elsewhere/",
        RemoveServedElsewhereView.as_view(),
        name="remove-served-elsewhere",
    ),
    path("v1/stops/", StopsView.as_view(), name="stops"),
    path("v1/stops/<int:stop_id>/lift/", LiftView.as_view(), name="stop-lift"),
    path("v1/freeze-windows/", FreezeWindowsView.as_view(), name="freeze-windows"),
    path("v1/freeze-windows/<int:window_id>/", FreezeWindowView.as_view(), name="freeze-window"),
    path("v1/cas/inspect/", InspectView.as_view(), name="inspect"),
    path("v1/cas/adopt/", CaAdoptView.as_view(), name="ca-adopt"),
    path("v1/cas/", CasView.as_view(), name="cas"),
    path("v1/cas/<str:ca_id>/", CaView.as_view(), name="ca"),
    path("v1/cas/<str:ca_id>/retry/", CaRetryView.as_view(), name="ca-retry"),
    path("v1/cas/<str:ca_id>/rotation/", RotationView.as_view(), name="rotation"),
    path("v1/cas/<str:ca_id>/rotation/confirm/", RotationConfirmView.as_view(), name="rotation-confirm"),
    path("v1/cas/<str:ca_id>/rotation/release/", RotationReleaseView.as_view(), name="rotation-release"),
    path("v1/requests/", RequestsView.as_view(), name="requests"),
    path("v1/requests/<int:request_id>/", RequestView.as_view(), name="request"),
    path("v1/requests/<int:request_id>/approve/", ApproveView.as_view(), name="approve"),
    path("v1/requests/<int:request_id>/overrides/", OverridesView.as_view(), name="overrides"),
    path("v1/requests/<int:request_id>/reject/", RejectView.as_view(), name="reject"),
    path("v1/requests/<int:request_id>/withdraw/", WithdrawView.as_view(), name="withdraw"),
    path("v1/requests/<int:request_id>/cancel/", CancelView.as_view(), name="cancel"),
    path("v1/requests/<int:request_id>/rebuild/", RebuildView.as_view(), name="rebuild"),
    path("v1/break-glass/", BreakGlassesView.as_view(), name="break-glasses"),
    path("v1/break-glass/<int:break_glass_id>/", BreakGlassView.as_view(), name="break-glass"),
    path("v1/break-glass/<int:break_glass_id>/return/", ReturnView.as_view(), name="break-glass-return"),
    path("v1/break-glass/<int:break_glass_id>/review/", ReviewView.as_view(), name="break-glass-review"),
    path("v1/hostnames/<str:fqdn>/", HostnameView.as_view(), name="hostname"),
    path("v1/hostnames/<str:fqdn>/as-of/", AsOfView.as_view(), name="as-of"),
    path("v1/rehearsals/", RehearsalsView.as_view(), name="rehearsals"),
    path("v1/hostnames/<str:fqdn>/probe/", HostnameProbeView.as_view(), name="hostname-probe"),
    path("v1/associations/", AssociationsView.as_view(), name="associations"),
    path("v1/drift/", DriftView.as_view(), name="drift"),
    path("v1/drift/ignore/", DriftIgnoreView.as_view(), name="drift-ignore"),
    path("v1/drift/show/", DriftShowView.as_view(), name="drift-show"),
    path("v1/changes/<uuid:change_id>/", ChangeView.as_view(), name="change"),
    path("v1/changes/<uuid:change_id>/undo/", UndoView.as_view(), name="undo"),
    path("v1/audit/", AuditView.as_view(), name="audit"),
    re_path(r"^v1(/.*)?$", UnknownPathView.as_view()),
]
