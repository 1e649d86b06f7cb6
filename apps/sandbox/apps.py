"""Makes the command `manage.py sandbox` known. The server itself uses nothing of Django."""

from __future__ import annotations

from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "apps.sandbox"
    label = "sandbox"
    verbose_name = "Local stand-in for Cloudflare"
