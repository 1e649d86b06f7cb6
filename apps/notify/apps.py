from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_save


class NotifyConfig(AppConfig):
    name = "apps.notify"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apps.audit.models import AuditEvent
        from apps.notify.bell import ring_for

        post_save.connect(ring_for, sender=AuditEvent, dispatch_uid="notify")
