"""One place that turns log records into lines: one event is one line of JSON-escaped text.

Values are escaped by the renderers (INV-36), and keys that may hold a secret are cut out before rendering
(INV-35), so that no call site has to remember either.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog

HIDDEN_KEYS = frozenset(
    {
        "authorization",
        "cookie",
        "password",
        "pem",
        "private_key",
        "secret",
        "token",
        "token_encrypted",
        "read_token_encrypted",
        "body",
    }
)


def hide_secrets(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut the values of keys that name a secret, whatever they hold."""
    for key in event:
        if key.lower() in HIDDEN_KEYS:
            event[key] = "[hidden]"
    return event


# What Celery says of a broker that is away. Its tracebacks run to pages, several times a second, and name no fault of
# ours: the first line says which connection was lost, and the sweep makes up for it.
TERSE_LOGGERS = frozenset({"celery.beat", "celery.worker.consumer.consumer", "py.warnings"})


def first_line_of_lost_brokers(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep the first line of the messages of `TERSE_LOGGERS`, without a traceback."""
    if event.get("logger") in TERSE_LOGGERS:
        event.pop("exc_info", None)
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def one_line_a_request(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A request is logged when it ends, with its status; health checks that went well are not."""
    finished_well = event.get("event") == "request_finished" and event.get("code") == 200
    if event.get("event") == "request_started" or (finished_well and event.get("request") == "GET /healthz"):
        raise structlog.DropEvent
    return event


SHARED = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    first_line_of_lost_brokers,
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    hide_secrets,
]

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            "foreign_pre_chain": SHARED,
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # httpx logs each request line, with its query; the reconciler logs what matters, with the ray id.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
    },
}


def configure_structlog() -> None:
    """Send structlog's events through the standard library's handlers above."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            one_line_a_request,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(capture=True)
