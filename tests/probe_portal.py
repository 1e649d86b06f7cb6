"""The whole portal with a local TLS server that stands for the edge of two hostnames."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.portal_process import PortalProcess
from tests.tls_server import FORBIDDEN, TlsServer

HOSTNAME, QUIET = "api.northwind-pay.example", "settle.northwind-pay.example"
# The names of the stand-in's zones exist nowhere. Python runs this file first in every process of the portal.
RESOLVER = """
import socket
_ask = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    return _ask("127.0.0.1" if str(host).endswith(".example.") else host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


@contextmanager
def probed_portal() -> Iterator[tuple[PortalProcess, TlsServer]]:
    """Probes every 3 s, at the server's port, as soon as an administrator allows 127.0.0.0/8."""
    edge = TlsServer(HOSTNAME, QUIET, asks="optional", reply=FORBIDDEN)
    with tempfile.TemporaryDirectory(prefix="byoca-resolver-") as folder:
        (Path(folder) / "sitecustomize.py").write_text(RESOLVER)
        settings = {
            "PYTHONPATH": folder,
            "SSL_CERT_FILE": str(edge.root_file),
            "BYOCA_PROBE_TEST_PORT": str(edge.port),
            "BYOCA_PROBE_INTERVAL_S": "3",
            "BYOCA_PROBE_SETTLE_S": "0",
            "BYOCA_PROBE_DEADLINE_S": "4",
        }
        with PortalProcess(**settings) as running:
            yield running, edge
    edge.stop()
