"""What the environment says, read once, with the defaults of the embedded mode.

Embedded (`make up`, tests): everything lives in the data folder and secrets are made there on first use,
readable by their owner only. Deployed: secrets come from the environment or from files, and a missing one
stops the start.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent


def mode() -> str:
    """`embedded` or `deployed`."""
    value = env.str("BYOCA_MODE", default="embedded")
    if value not in {"embedded", "deployed"}:
        raise ImproperlyConfigured(f"BYOCA_MODE is {value!r}. Use embedded or deployed.")
    return value


def data_dir() -> Path:
    return Path(env.str("BYOCA_DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()


def secret(name: str, make: str) -> str:
    """The secret `name` from the environment, from the file `name_FILE` names, or (embedded) the data folder.

    `make` says how a new one is made in embedded mode: `token` or `key`.
    Raises ImproperlyConfigured when deployed without one.
    """
    if value := env.str(name, default=""):
        return value
    if path := env.str(f"{name}_FILE", default=""):
        return Path(path).read_text(encoding="utf-8").strip()
    if mode() == "deployed":
        raise ImproperlyConfigured(f"{name} is not set. Set {name} or {name}_FILE; see docs/deployment.md.")
    return _kept(data_dir() / "secrets" / name.lower(), make)


def _kept(path: Path, make: str) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = secrets.token_urlsafe(48) if make == "token" else f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(fresh)
    return fresh


def database(folder: Path) -> dict[str, object]:
    """Django's DATABASES entry. SQLite runs in WAL with immediate transactions, so that a writer never fails
    late with `database is locked` (measured: WAL alone gave 464 lock errors in 1,000 writes)."""
    url = env.str("DATABASE_URL", default="")
    if not url or url.startswith("sqlite"):
        name = url.removeprefix("sqlite:///") or str(folder / "portal.sqlite3")
        pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": pragmas}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
    config = env.db_url_config(url)
    return {**config, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


def mail(folder: Path) -> dict[str, object]:
    """Django's settings of mail, and BYOCA_MAIL: whether any is sent. By EMAIL_URL or the file EMAIL_URL_FILE names.

    Embedded without one, each mail is a file in the data folder. Raises ImproperlyConfigured for a mail server without
    a sender.
    """
    url, sender = env.str("EMAIL_URL", default=""), env.str("BYOCA_MAIL_FROM", default="")
    if not url and (path := env.str("EMAIL_URL_FILE", default="")):
        url = Path(path).read_text(encoding="utf-8").strip()
    values: dict[str, object] = {
        "BYOCA_MAIL": True, "EMAIL_TIMEOUT": env.float("BYOCA_MAIL_TIMEOUT_S", default=10.0),
        "DEFAULT_FROM_EMAIL": sender or "BYOCA Portal <byoca-portal@localhost>",
    }  # fmt: skip
    if url:
        if not sender:
            raise ImproperlyConfigured("BYOCA_MAIL_FROM is not set. EMAIL_URL needs the address that mails come from.")
        return values | {name: value for name, value in environ.Env.email_url_config(url).items() if value}
    if mode() == "deployed":
        return values | {"BYOCA_MAIL": False, "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    backend = "django.core.mail.backends.filebased.EmailBackend"
    return values | {"EMAIL_BACKEND": backend, "EMAIL_FILE_PATH": str(folder / "mail")}


def public_url(hosts: list[str], origins: list[str]) -> str:
    """Where people reach the portal, without a last slash: for links in mails."""
    if url := env.str("BYOCA_PUBLIC_URL", default=""):
        return url.rstrip("/")
    if mode() == "deployed":
        return [*origins, *(f"https://{host}" for host in hosts), "https://localhost"][0]
    bind = env.str("BYOCA_BIND", default="127.0.0.1")
    return f"http://{'127.0.0.1' if bind in {'0.0.0.0', '::'} else bind}:{env.int('BYOCA_PORT', default=8000)}"  # noqa: S104


def ranges(name: str) -> list[str]:
    """CIDR ranges, comma separated. Raises ImproperlyConfigured now, and not when the first call is judged by them."""
    found = [text.strip() for text in env.list(name, default=[])]
    for text in found:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {error}. Write ranges such as 10.20.0.0/24.") from None
    return found


def redis_url(folder: Path) -> str:
    """The Redis beside the broker, as redis-py takes it: REDIS_URL, or the embedded server's socket. Empty when the
    messages travel through the filesystem."""
    if url := env.str("REDIS_URL", default=""):
        return url
    if env.str("BYOCA_BROKER", default="") == "filesystem":
        return ""
    return f"unix://{env.str('BYOCA_BROKER_SOCKET', default=str(folder / 'broker' / 'valkey.sock'))}"
