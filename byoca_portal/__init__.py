"""Wiring only: settings, URLs, Celery. Importing it makes Celery's app the current one in every process."""

from byoca_portal.celery import app as celery_app

__all__ = ["celery_app"]
