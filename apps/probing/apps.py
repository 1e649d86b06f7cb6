from __future__ import annotations

from django.apps import AppConfig


class ProbingConfig(AppConfig):
    name = "apps.probing"
    default_auto_field = "django.db.models.BigAutoField"
