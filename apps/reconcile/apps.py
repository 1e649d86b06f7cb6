from __future__ import annotations

from django.apps import AppConfig


class ReconcileConfig(AppConfig):
    name = "apps.reconcile"
    default_auto_field = "django.db.models.BigAutoField"
