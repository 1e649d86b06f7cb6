"""A real SMTP receiver on 127.0.0.1: one thread per connection, and a knob for each way it may fail."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast


@dataclass(frozen=True)
class Received:
    """One mail as taken: the envelope, and what its lines say."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        return cast(EmailMessage, message_from_bytes(self.raw, policy=policy.default))

    @property
    def text(self) -> str:
        return str(self.message.get_content())


class SmtpServer:
    """`with SmtpServer() as server:`. `answers` maps a verb (also CONNECT and BODY) to what is said instead of yes.

    `hold` parks the answer after each mail's last line until it is set; `begun` counts mails that came that far. A mail
    counts as received only when it was said to be.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, str | Callable[[str], str]] = {}
        self.begun = 0
        self.hold = threading.Event()
        self.hold.set()
        handler = type("Handler", (_Handler,), {"mailbox": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def __enter__(self) -> SmtpServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def to(self, address: str) -> list[Received]:
        return [mail for mail in self.received if address in mail.recipients]

    def answer(self, verb: str, line: str, otherwise: str) -> str:
        said = self.answers.get(verb, otherwise)
        return said(line) if callable(said) else said


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    mailbox: SmtpServer

    def handle(self) -> None:
        sender, recipients = "", []
        if not self._say(self.mailbox.answer("CONNECT", "", "220 receiver ready")):
            return
        while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            verb = line.split(" ", 1)[0].split(":", 1)[0].upper()
            if verb == "DATA":
                self._take_mail(sender, tuple(recipients))
                continue
            said = self.mailbox.answer(verb, line, "221 bye" if verb == "QUIT" else "250 fine")
            if verb == "MAIL":
                sender, recipients = line.partition("<")[2].partition(">")[0], []
            elif verb == "RCPT" and said.startswith("250"):
                recipients.append(line.partition("<")[2].partition(">")[0])
            if not self._say(said) or verb == "QUIT":
                return

    def _take_mail(self, sender: str, recipients: tuple[str, ...]) -> None:
        said = self.mailbox.answer("DATA", "", "354 go on")
        self._say(said)
        if not said.startswith("354"):
            return
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if line == b"":
            return
        self.mailbox.begun += 1
        self.mailbox.hold.wait(60)
        answer = self.mailbox.answer("BODY", "", "250 taken")
        if answer.startswith("250"):
            self.mailbox.received.append(Received(sender, recipients, b"".join(lines)))
        self._say(answer)

    def _say(self, text: str) -> bool:
        """`drop` closes, `silence` says nothing for longer than anybody waits. Returns whether to go on."""
        if text == "drop":
            return False
        if text == "silence":
            time.sleep(5)
            return False
        try:
            self.wfile.write(f"{text}\r\n".encode("latin-1"))
        except OSError:
            return False
        return True
