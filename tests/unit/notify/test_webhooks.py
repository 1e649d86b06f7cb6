"""Webhooks over real TLS: what is sent, how it is signed, what each answer means, and where nothing is ever sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from apps.audit.models import AuditEvent
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.notify import hooks
from apps.notify.models import Notice, Webhook
from apps.notify.services import read_events, retry_notice
from apps.notify.webhooks import MOST_WEBHOOKS, add_webhook, remove_webhook, target_of
from tests.factories import actor
from tests.hook_receiver import HOST, HookReceiver
from tests.smtp_server import SmtpServer
from tests.unit.notify.desk import NAME, Desk, later, work

Resolve = Callable[..., None]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch, settings: Any, resolve: Resolve) -> Iterator[HookReceiver]:
    """Its name leads to 127.0.0.1, which the deployment allows; its root is one of the system's."""
    settings.BYOCA_WEBHOOK_RANGES = ["127.0.0.0/8"]
    settings.BYOCA_WEBHOOK_DEADLINE_S = 3.0
    settings.BYOCA_PUBLIC_URL = "https://portal.example"
    settings.BYOCA_MAIL = False
    resolve("127.0.0.1")
    with HookReceiver() as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.server.root_file))
        hooks._trust_store.cache_clear()
        yield running
    hooks._trust_store.cache_clear()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """What the DNS says of the receiver's name."""
    real = socket.getaddrinfo

    def answer_with(*addresses: str) -> None:
        def ask(host: str, *args: Any, **more: Any) -> Any:
            names = addresses if host == HOST else [host]
            return [row for name in names for row in real(name, *args, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", ask)

    return answer_with


def hook_to(url: str, secret: str = "") -> tuple[Webhook, str]:
    return add_webhook(by=actor(Role.ADMIN), name="Partner", url=url, secret=secret)


def notice() -> Notice:
    return Notice.objects.get(channel="webhook")


def test_an_event_is_posted_signed(desk: Desk, receiver: HookReceiver) -> None:
    _, secret = hook_to(receiver.url)
    (event,) = desk.tell()
    work()
    (call,) = receiver.calls
    assert call.line == "POST /in?key=quiet HTTP/1.1"
    assert call.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    data = {
        "headline": f"{NAME} refuses every client", "hostnames": [NAME], "zone": "pay.example",
        "account": str(desk.account.pk), "why": "No CA is tied to it.",
        "url": f"https://portal.example/hostnames/{NAME}/",
    }  # fmt: skip
    assert {**call.event, "time": "?"} == {
        "specversion": "1.0", "id": f"audit-{event.seq}", "source": "https://portal.example",
        "type": "byoca.hostname.locked_out", "subject": NAME, "time": "?", "datacontenttype": "application/json",
        "data": data,
    }  # fmt: skip
    assert call.event["time"].endswith("Z")
    # As a receiver checks it, by the text of Standard Webhooks.
    at = call.headers["webhook-timestamp"]
    signed = f"{call.headers['webhook-id']}.{at}.".encode() + call.body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert call.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert abs(int(at) - time.time()) < 60 and call.headers["webhook-id"] == f"audit-{event.seq}"
    assert notice().state == "sent"


@pytest.mark.parametrize(("status", "state"), [(500, "waiting"), (404, "waiting"), (503, "waiting"), (429, "waiting")])
def test_an_answer_that_is_no_yes_is_tried_again_with_the_same_id(
    desk: Desk, receiver: HookReceiver, status: int, state: str
) -> None:
    receiver.status = status
    hook_to(receiver.url)
    desk.tell()
    work()
    assert (notice().state, notice().attempts, notice().last_error) == (state, 1, f"It answered {status}.")
    receiver.status = 200
    later()
    work()
    assert notice().state == "sent"
    first, second = receiver.calls
    assert first.event == second.event and first.headers["webhook-id"] == second.headers["webhook-id"]


def test_one_refused_event_holds_up_no_other_and_a_busy_receiver_all(desk: Desk, receiver: HookReceiver) -> None:
    hook_to(receiver.url)
    receiver.status = 400
    desk.tell("a.pay.example", "b.pay.example")
    work()
    assert len(receiver.calls) == 2
    receiver.status = 503
    later()
    work()
    assert len(receiver.calls) == 3 and [row.attempts for row in Notice.objects.filter(channel="webhook")] == [2, 2]


def test_a_redirect_is_not_followed(desk: Desk, receiver: HookReceiver) -> None:
    with HookReceiver() as elsewhere:
        receiver.status, receiver.headers = 302, f"location: https://127.0.0.1:{elsewhere.server.port}/\r\n"
        hook_to(receiver.url)
        desk.tell()
        work()
        assert elsewhere.server.connections == 0
    assert notice().state == "not_delivered" and "redirects are not followed" in notice().last_error


def test_a_receiver_that_is_gone_is_not_asked_again(desk: Desk, receiver: HookReceiver) -> None:
    receiver.status = 410
    hook_to(receiver.url)
    desk.tell()
    work()
    assert notice().state == "not_delivered" and "410" in notice().last_error


@pytest.mark.parametrize("manner", ["drip", "flood"])
def test_a_receiver_that_goes_on_and_on_is_left(desk: Desk, receiver: HookReceiver, settings: Any, manner: str) -> None:
    """Each byte comes in good time; only the whole never does."""
    receiver.manner, settings.BYOCA_WEBHOOK_DEADLINE_S = manner, 1.0
    hook_to(receiver.url)
    desk.tell()
    work()
    words = {"drip": "No answer within 1 s.", "flood": "The connection failed: "}
    assert notice().state == "waiting" and notice().last_error.startswith(words[manner])


def test_the_body_of_the_answer_is_not_waited_for(desk: Desk, receiver: HookReceiver) -> None:
    receiver.manner, receiver.status = "endless", 200
    hook_to(receiver.url)
    desk.tell()
    work()
    assert notice().state == "sent"


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(
    desk: Desk, receiver: HookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HookReceiver() as other:
        monkeypatch.setenv("SSL_CERT_FILE", str(other.server.root_file))
        hooks._trust_store.cache_clear()
        hook_to(receiver.url)
        desk.tell()
        work()
    assert receiver.calls == [] and "certificate verify failed" in notice().last_error


REFUSED = [
    ("127.0.0.1", "a loopback address"),
    ("10.0.0.7", "a private or reserved address"),
    ("169.254.169.254", "a cloud metadata address"),
    ("169.254.1.1", "a link-local address"),
    ("::1", "a loopback address"),
    ("::ffff:127.0.0.1", "an IPv4 address written as IPv6"),
    ("100.64.0.1", "a carrier-grade NAT address"),
]


@pytest.mark.parametrize(("address", "kind"), REFUSED)
def test_a_name_that_leads_inside_is_refused_when_it_is_connected_to(
    desk: Desk, receiver: HookReceiver, resolve: Resolve, settings: Any, address: str, kind: str
) -> None:
    settings.BYOCA_WEBHOOK_RANGES = []
    resolve(address)
    hook_to(receiver.url)
    desk.tell()
    work()
    assert receiver.server.connections == 0
    assert notice().state == "not_delivered" and f"leads to {address}, {kind}" in notice().last_error


def test_one_inside_address_among_several_refuses_the_name(
    desk: Desk, receiver: HookReceiver, resolve: Resolve
) -> None:
    resolve("127.0.0.1", "169.254.169.254")
    hook_to(receiver.url)
    desk.tell()
    work()
    assert receiver.server.connections == 0 and "a cloud metadata address" in notice().last_error


def test_a_slow_receiver_does_not_keep_mails_from_going(desk: Desk, receiver: HookReceiver, settings: Any) -> None:
    receiver.manner, settings.BYOCA_WEBHOOK_DEADLINE_S = "drip", 1.0
    hook_to(receiver.url)
    with SmtpServer() as smtp:
        settings.BYOCA_MAIL, settings.EMAIL_HOST, settings.EMAIL_PORT = True, "127.0.0.1", smtp.port
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        desk.tell()
        work()
        assert len(smtp.received) == 2
    assert notice().state == "waiting"


def test_url_and_secret_are_nowhere_in_clear_and_belong_to_their_row(desk: Desk, receiver: HookReceiver) -> None:
    hook, secret = hook_to(receiver.url)
    other, _ = hook_to("https://other.partner.example/in")
    rows = str([list(model.objects.values()) for model in (Webhook, AuditEvent, Notice)])
    assert secret not in rows and "key=quiet" not in rows and repr(target_of(hook)) == "<Target>"
    assert hook.origin == f"https://{HOST}:{receiver.server.port}"
    Webhook.objects.filter(pk=hook.pk).update(sealed=other.sealed)
    remove_webhook(by=actor(Role.ADMIN), webhook_id=other.pk)
    desk.tell()
    work()
    assert receiver.calls == [] and "cannot be decrypted" in notice().last_error


def test_a_secret_that_is_given_is_used(desk: Desk) -> None:
    given = "whsec_" + base64.b64encode(b"k" * 24).decode()
    hook, secret = hook_to("https://partner.example/in", given)
    assert secret == given and target_of(hook).secret == given


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": "  "}),
        ("name", {"name": "two\nlines"}),
        ("url", {"url": "http://partner.example/"}),
        ("url", {"url": "partner.example"}),
        ("url", {"url": "https:///path"}),
        ("url", {"url": "https://[oops/"}),
        ("url", {"url": "https://partner.example:port/"}),
        ("url", {"url": "https://partner.example:0/"}),
        ("url", {"url": "https://partner.example:99999/"}),
        ("url", {"url": "https://user:word@partner.example/"}),
        ("url", {"url": "https://partner.example/#part"}),
        ("url", {"url": "https://partner.example/" + "x" * 1000}),
        ("url", {"url": f"https://{'part.' * 60}example/"}),
        ("url", {"url": "https://10.0.0.1/"}),
        ("url", {"url": "https://[::1]:8443/"}),
        ("secret", {"secret": "short"}),
        ("secret", {"secret": "whsec_not base64"}),
        ("secret", {"secret": "whsec_" + base64.b64encode(b"k" * 23).decode()}),
    ],
)
def test_what_is_refused_when_it_is_added(db: None, field: str, values: dict[str, str]) -> None:
    form = {"name": "Partner", "url": "https://partner.example/in", "secret": "", **values}
    with pytest.raises(Invalid) as refused:
        add_webhook(by=actor(Role.ADMIN), **form)
    assert refused.value.field == field
    assert not Webhook.objects.exists()


def test_an_address_of_the_world_may_be_given_as_a_number(db: None) -> None:
    assert hook_to("https://1.1.1.1/in")[0].origin == "https://1.1.1.1"


def test_only_administrators_add_and_remove(desk: Desk, receiver: HookReceiver) -> None:
    with pytest.raises(Forbidden):
        add_webhook(by=actor(Role.ENGINEER), name="x", url=receiver.url)
    hook, _ = hook_to(receiver.url)
    with pytest.raises(Forbidden):
        remove_webhook(by=actor(Role.ENGINEER), webhook_id=hook.pk)
    with pytest.raises(NotFound):
        remove_webhook(by=actor(Role.ADMIN), webhook_id=uuid.uuid4())
    for number in range(MOST_WEBHOOKS - 1):
        hook_to(f"https://r{number}.partner.example/")
    with pytest.raises(Conflict, match="Remove one first"):
        hook_to(receiver.url)
    actions = list(AuditEvent.objects.filter(subject_type="webhook").values_list("action", "after"))
    assert len(actions) == MOST_WEBHOOKS and json.dumps(actions).count(HOST) == 1


def test_a_removed_webhook_gets_nothing_more(desk: Desk, receiver: HookReceiver) -> None:
    receiver.status = 500
    hook, _ = hook_to(receiver.url)
    desk.tell()
    work()
    remove_webhook(by=actor(Role.ADMIN), webhook_id=hook.pk)
    assert (notice().state, notice().last_error) == ("not_delivered", "The webhook was removed.")
    assert Webhook.objects.get().sealed == ""
    with pytest.raises(Conflict, match="was removed"):
        retry_notice(by=actor(Role.ADMIN), notice_id=notice().pk)
    Notice.objects.filter(pk=notice().pk).update(state="waiting")
    later()
    work()
    assert len(receiver.calls) == 1 and notice().state == "not_delivered"
    desk.tell()
    work()
    assert Notice.objects.filter(channel="webhook").count() == 1


def test_a_webhook_that_failed_is_sent_again_when_asked(desk: Desk, receiver: HookReceiver) -> None:
    receiver.status = 302
    hook_to(receiver.url)
    desk.tell()
    work()
    receiver.status = 204
    retry_notice(by=actor(Role.ENGINEER), notice_id=notice().pk)
    work()
    assert notice().state == "sent" and notice().attempts == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_a_webhook_is_removed_while_a_worker_ends_its_notices() -> None:
    """Each of them holds a row that the other wants next."""
    desk = Desk()
    hook, _ = hook_to("https://partner.example/in")
    desk.tell("a.pay.example", "b.pay.example")
    while read_events():
        pass
    first, second = Notice.objects.filter(channel="webhook").order_by("event_seq")
    held, removed, faults = threading.Event(), threading.Event(), []

    def work_on_both() -> None:
        try:
            with transaction.atomic():
                Notice.objects.filter(pk=second.pk).update(attempts=1)
                held.set()
                assert removed.wait(5), "it waits for this"
                Notice.objects.filter(pk=first.pk).update(attempts=1)
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    worker = threading.Thread(target=work_on_both)
    worker.start()
    assert held.wait(10)
    remove_webhook(by=actor(Role.ADMIN), webhook_id=hook.pk)
    removed.set()
    worker.join()
    assert faults == []
    later()
    work()
    assert {row.last_error for row in Notice.objects.filter(channel="webhook")} == {"The webhook was removed."}
