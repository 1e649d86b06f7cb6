from __future__ import annotations

from django.apps import AppConfig


class AuthoritiesConfig(AppConfig):
    name = "apps.authorities"
    default_auto_field = "django.db.models.BigAutoField"
