"""Where each room's URLs hang."""

from __future__ import annotations

from django.urls import include, path, re_path
from django.views.generic import RedirectView

urlpatterns = [
    path("api/", include("apps.api.urls")),
    # One way to set one's address, with its audit event; allauth's own would send mail to whatever is typed.
    path("accounts/email/", RedirectView.as_view(url="/notifications/")),
    # So would its reset of passwords. People change their own; for others `manage.py changepassword` does.
    re_path(r"^accounts/password/reset/", RedirectView.as_view(url="/accounts/password/change/")),
    path("accounts/", include("allauth.urls")),
    path("", include("apps.web.urls")),
]
handler400 = "apps.web.errors.bad_request"
handler403 = "apps.web.errors.permission_denied"
handler404 = "apps.web.errors.not_found"
handler500 = "apps.web.errors.server_error"
