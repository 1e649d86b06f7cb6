from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.portal_process import free_port
from tests.smtp_server import SmtpServer
from tests.unit.notify.desk import Desk


@pytest.fixture
def smtp(settings: Any) -> Iterator[SmtpServer]:
    """Mail goes to a real receiver by Django's own client."""
    with SmtpServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", server.port, 1.0
        settings.DEFAULT_FROM_EMAIL = "BYOCA Portal <portal@byoca.example>"
        settings.BYOCA_PUBLIC_URL = "https://portal.example"
        yield server


@pytest.fixture
def desk(db: None) -> Desk:
    return Desk()


@pytest.fixture
def unused() -> Any:
    """A port where nobody listens."""
    return free_port
