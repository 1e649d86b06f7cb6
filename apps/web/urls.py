"""Paths of the pages."""

from __future__ import annotations

from django.urls import path, register_converter
from django.views.generic import RedirectView

from apps.web.views import (
    adoption,
    associations,
    audit,
    break_glass,
    cas,
    changes,
    drift,
    holds,
    hostnames,
    issuers,
    limits,
    notifications,
    overview,
    rehearsal,
    requests,
    rotation,
    settings,
    uploads,
)


class ExportKind:
    """csv or jsonl."""

    regex = "csv|jsonl"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(ExportKind, "export")

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("healthz", overview.healthz, name="healthz"),
    path("readyz", overview.readyz, name="readyz"),
    path("favicon.ico", RedirectView.as_view(url="/static/favicon.svg")),
    path("associations/", associations.associations, name="associations"),
    path("associations/export.csv", associations.export, name="associations-export"),
    path("drift/", drift.index, name="drift"),
    path("drift/decide/", drift.decide, name="drift-decide"),
    path("cas/", cas.index, name="cas"),
    path("cas/upload/", uploads.upload, name="ca-upload"),
    path("cas/adopt/<str:cloudflare_id>/", adoption.adopt, name="ca-adopt"),
    path("cas/inspect/", uploads.inspect, name="ca-inspect"),
    path("cas/<uuid:ca_id>/", cas.detail, name="ca"),
    path("cas/<uuid:ca_id>/issuers/", issuers.change, name="ca-issuers"),
    path("cas/<uuid:ca_id>/pem", cas.pem, name="ca-pem"),
    path("cas/<uuid:ca_id>/retry/", cas.retry, name="ca-retry"),
    path("cas/<uuid:ca_id>/delete/", cas.delete, name="ca-delete"),
    path("cas/<uuid:ca_id>/replace/", rotation.replace, name="ca-replace"),
    path("cas/<uuid:ca_id>/replace/link/", rotation.link, name="ca-replace-link"),
    path("cas/<uuid:ca_id>/replace/cover/", rotation.cover, name="ca-replace-cover"),
    path("cas/<uuid:ca_id>/replace/confirm/", rotation.confirm, name="ca-replace-confirm"),
    path("cas/<uuid:ca_id>/replace/release/", rotation.release, name="ca-replace-release"),
    path("hostnames/", hostnames.index, name="hostnames"),
    path("hostnames/<str:fqdn>/", hostnames.detail, name="hostname"),
    path("rehearsal/", rehearsal.rehearsal, name="rehearsal"),
    path("hostnames/<str:fqdn>/probe/", hostnames.probe, name="hostname-probe"),
    path("requests/", requests.index, name="requests"),
    path("requests/new/", requests.new, name="request-new"),
    path("requests/check/", requests.check, name="request-check"),
    path("requests/<int:request_id>/", requests.detail, name="request"),
    path("requests/<int:request_id>/review/", requests.review, name="request-review"),
    path("requests/<int:request_id>/override/", requests.override, name="request-override"),
    path("requests/<int:request_id>/withdraw/", requests.withdraw_own, name="request-withdraw"),
    path("requests/<int:request_id>/cancel/", requests.cancel_approved, name="request-cancel"),
    path("requests/<int:request_id>/rebuild/", requests.rebuild, name="request-rebuild"),
    path("requests/<int:request_id>/plan.json", requests.plan_json, name="request-plan"),
    path("changes/<uuid:change_id>/", changes.detail, name="change"),
    path("changes/<uuid:change_id>/undo/", changes.undo, name="change-undo"),
    path("zones/<uuid:zone_id>/retry/", changes.retry, name="zone-retry"),
    path(
        "zones/<uuid:zone_id>/remove-served-elsewhere/",
        changes.remove_served_elsewhere,
        name="zone-remove-served-elsewhere",
    ),
    path("zones/<uuid:zone_id>/limits/", limits.zone_limits, name="zone-limits"),
    path("break-glass/", break_glass.index, name="break-glasses"),
    path("break-glass/new/", break_glass.new, name="break-glass-new"),
    path("break-glass/<int:break_glass_id>/", break_glass.detail, name="break-glass"),
    path("break-glass/<int:break_glass_id>/end/", break_glass.end, name="break-glass-end"),
    path("break-glass/<int:break_glass_id>/review/", break_glass.review, name="break-glass-review"),
    path("audit/", audit.index, name="audit"),
    path("audit/<int:seq>/", audit.detail, name="audit-event"),
    path("audit/export.<export:kind>", audit.export, name="audit-export"),
    path("accounts/", settings.accounts, name="accounts"),
    path("accounts/switch/", settings.switch, name="account-switch"),
    path("accounts/<uuid:account_id>/token/", settings.account_token, name="account-token"),
    path("accounts/<uuid:account_id>/read-token/", settings.account_read_token, name="account-read-token"),
    path(
        "accounts/<uuid:account_id>/read-token/remove/",
        settings.account_read_token_remove,
        name="account-read-token-remove",
    ),
    path("accounts/<uuid:account_id>/mode/", settings.account_mode, name="account-mode"),
    path("accounts/<uuid:account_id>/budget/", settings.account_budget, name="account-budget"),
    path("accounts/<uuid:account_id>/windows/", holds.windows, name="windows"),
    path("accounts/windows/<int:window_id>/remove/", holds.window_remove, name="window-remove"),
    path("accounts/stops/", holds.stops, name="stops"),
    path("accounts/stops/<int:stop_id>/lift/", holds.lift, name="stop-lift"),
    path("accounts/<uuid:account_id>/probing/", settings.account_probing, name="account-probing"),
    path("accounts/<uuid:account_id>/healing/", settings.account_healing, name="account-healing"),
    path("accounts/<uuid:account_id>/slots/", settings.account_slots, name="account-slots"),
    path("notifications/", notifications.index, name="notifications"),
    path("notifications/address/", notifications.address, name="notification-address"),
    path("notifications/webhooks/", notifications.webhook_add, name="webhook-add"),
    path("notifications/webhooks/<uuid:webhook_id>/remove/", notifications.webhook_remove, name="webhook-remove"),
    path("notifications/<uuid:notice_id>/retry/", notifications.retry, name="notice-retry"),
    path("settings/tokens/", settings.tokens, name="tokens"),
    path("settings/tokens/<int:token_id>/revoke/", settings.token_revoke, name="token-revoke"),
    path("api/docs/", settings.api_docs, name="api-docs"),
]
