"""Certificates nobody here made: real roots, the vectors of the cryptography library, and both of them damaged."""

from __future__ import annotations

import importlib.resources
import re
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.resources.abc import Traversable
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.pki.certificate import CertificateFacts, read_certificate
from apps.pki.findings import Severity
from apps.pki.inspection import inspect
from tests.certs import make_ca
from tests.unit.pki.conftest import only
from tests.unit.pki.oracle import reasons, would_be_refused

NOW = datetime.now(UTC)
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n", re.DOTALL)
ROOTS = BLOCK.findall(importlib.resources.files(certifi).joinpath("cacert.pem").read_text("utf-8"))
VERDICTS = {"refuse", "caution", "accept"}


def vectors(folder: Traversable) -> list[tuple[str, bytes]]:
    found = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        found += vectors(item) if item.is_dir() else [(item.name, item.read_bytes())]
    return found


VECTORS = vectors(importlib.resources.files("cryptography_vectors").joinpath("x509"))
FIRST = dict(reversed(VECTORS))


DEBIAN = [(path.name, path.read_bytes()) for path in sorted(Path("/usr/share/ca-certificates").rglob("*.crt"))]


def test_there_is_a_corpus() -> None:
    assert len(ROOTS) > 100
    assert len(VECTORS) > 1500


def differences(files: Iterable[tuple[str, bytes]]) -> list[str]:
    return [
        name for name, data in files if (inspect(data, now=NOW).verdict == "refuse") != would_be_refused(data, now=NOW)
    ]


def test_the_second_opinion_agrees_on_every_real_root() -> None:
    assert differences((pem[:40], pem.encode()) for pem in ROOTS) == []
    assert differences(DEBIAN) == []
    assert not would_be_refused(make_ca().der, NOW)


def test_the_second_opinion_agrees_on_every_vector() -> None:
    assert differences(VECTORS) == []


@pytest.mark.parametrize("change", [b"Northwine", b"northwind"])
def test_the_second_opinion_sees_what_was_changed_after_signing(change: bytes) -> None:
    for key in ("rsa2048", "ec256", "ec384", "ec521"):
        der = make_ca(key=key, organisation="Northwind").der
        changed = der.replace(b"Northwind", change)
        assert (would_be_refused(der, NOW), reasons(changed, NOW)) == (False, ["self-signature"])
        assert inspect(changed, now=NOW).verdict == "refuse"


OPENSSL = shutil.which("openssl")
FIELDS = ["-noout", "-serial", "-fingerprint", "-sha256", "-startdate", "-enddate", "-dateopt", "iso_8601",
          "-subject", "-issuer", "-nameopt", "RFC2253,-esc_msb,utf8", "-ext",
          "subjectKeyIdentifier,authorityKeyIdentifier,basicConstraints,keyUsage"]  # fmt: skip


def as_openssl_prints(facts: CertificateFacts) -> dict[str, str]:
    """The card's facts in the words of `openssl x509`."""
    path = f", pathlen:{facts.path_length}" if facts.path_length is not None else ""
    return {
        "serial": ("-" if facts.serial < 0 else "") + facts.serial_hex.lstrip("-").replace(":", ""),
        "sha256 Fingerprint": ":".join(re.findall("..", facts.fingerprint.upper())),
        "notBefore": f"{facts.not_before:%Y-%m-%d %H:%M:%SZ}",
        "notAfter": f"{facts.not_after:%Y-%m-%d %H:%M:%SZ}",
        "Basic Constraints": f"CA:TRUE{path}",
        **({"Subject Key Identifier": ":".join(re.findall("..", facts.ski))} if facts.ski else {}),
        **({"Key Usage": ", ".join(facts.key_usage)} if facts.key_usage else {}),
    }


def printed_by_openssl(pem: str) -> dict[str, str]:
    command = [str(OPENSSL), "x509", *FIELDS]
    text = subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout
    found = dict(line.partition("=")[::2] for line in text.splitlines() if re.match(r"[\w ]+=", line))
    for title, value in re.findall(r"X509v3 (.+?):(?: critical)? ?\n +(.+?)\n", text + "\n"):
        found[title] = value.strip()
    return found


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command, version 3; the CI installs it")
def test_the_card_says_what_openssl_prints() -> None:
    made = [make_ca(f"Card {kind}", key=kind, path_length=1).pem for kind in ("ec256", "ec521", "rsa3072")]
    for pem in [*ROOTS[::12], *made]:
        facts, printed = inspect(pem, now=NOW).certificate, printed_by_openssl(pem)
        assert facts is not None
        for name, value in as_openssl_prints(facts).items():
            assert printed[name] == value, (facts.subject, name)


def test_real_roots_are_refused_for_expiry_alone() -> None:
    for pem in ROOTS:
        inspection = inspect(pem, now=NOW)
        assert set(only(inspection, Severity.REFUSE)) <= {"valid_now"}, inspection.findings
        facts = inspection.certificate
        assert facts is not None
        assert (facts.pem, facts.self_signature, facts.is_ca) == (pem, "valid", True)


@pytest.mark.filterwarnings("ignore")
def test_facts_equal_those_of_the_library() -> None:
    for pem in ROOTS:
        cert = x509.load_pem_x509_certificate(pem.encode())
        facts = read_certificate(cert.public_bytes(Encoding.DER))
        assert facts.serial == cert.serial_number
        assert (facts.not_before, facts.not_after) == (cert.not_valid_before_utc, cert.not_valid_after_utc)
        assert facts.key_size == cert.public_key().key_size  # type: ignore[union-attr]
        assert facts.signature_oid == cert.signature_algorithm_oid.dotted_string
        dotted = cert.subject.rfc4514_string({x509.NameOID.EMAIL_ADDRESS: "emailAddress"})
        known = dotted.replace("2.5.4.5=", "serialNumber=").replace("2.5.4.97=", "organizationIdentifier=")
        assert facts.subject == known


def test_every_vector_gets_a_verdict_and_its_refusals_a_reason() -> None:
    for name, data in VECTORS:
        inspection = inspect(data, now=NOW)
        assert inspection.verdict in VERDICTS, name
        assert (inspection.verdict == "refuse") == bool(only(inspection, Severity.REFUSE)), name
        if inspection.verdict != "refuse":
            assert inspection.certificate is not None, name
            assert inspection.certificate.is_ca, name
        if name.endswith(".p12"):
            assert only(inspection, Severity.REFUSE) == ["private_key"], name


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("mismatch_inner_outer_sig_algorithm.der", ["is_ca", "signature_algorithms_agree", "valid_now"]),
        ("two_basic_constraints.pem", ["extensions", "valid_now"]),
        ("badasn1time.pem", ["readable"]),
        ("san_x400address.der", ["extensions", "signature_algorithm", "key_type", "valid_now"]),
        ("cryptography.io.with_headers.pem", ["private_key"]),
        ("e-trust.ru.der", ["signature_algorithm", "key_type"]),
    ],
)
def test_known_vectors(name: str, checks: list[str]) -> None:
    assert only(inspect(FIRST[name], now=NOW), Severity.REFUSE) == checks


BUNDLE = [make_ca("One").cert, make_ca("Two", key="rsa2048").cert]
SEEDS = [
    serialize_certificates(BUNDLE, Encoding.DER),
    make_ca().der,
    make_ca(key="rsa2048", path_length=0).der,
    *[data for name, data in VECTORS if name.endswith((".der", ".crt")) and len(data) < 3000][::9],
]
PEMS = [
    make_ca().pem.encode(),
    b"".join(cert.public_bytes(Encoding.PEM) for cert in BUNDLE),
    serialize_certificates(BUNDLE, Encoding.PEM),
    *(pem.encode() for pem in ROOTS[::40]),
]
EDITS = st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=4), st.integers(0, 4)), max_size=6)
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mutated(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    for place, new, removed in edits:
        place %= len(data) + 1
        data = data[:place] + new + data[place + removed :]
    return data


@FUZZ
@given(seed=st.sampled_from(SEEDS), edits=EDITS)
def test_damaged_der_gets_a_verdict(seed: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    assert inspect(mutated(seed, edits), now=NOW).verdict in VERDICTS


@FUZZ
@given(seed=st.sampled_from(PEMS), edits=EDITS)
def test_damaged_pem_gets_a_verdict(seed: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    assert inspect(mutated(seed, edits), now=NOW).verdict in VERDICTS


ABOVE = make_ca("Above")
# Signed by another key, so that a change does not end at the signature.
BELOW = [make_ca("Below", issuer=ABOVE, key=key, path_length=1).der for key in ("ec256", "rsa2048")]
FLIPS = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=3)


@settings(FUZZ, max_examples=1000)
@given(seed=st.sampled_from([*BELOW, *SEEDS]), flips=FLIPS)
def test_the_gate_admits_nothing_that_the_second_opinion_refuses(seed: bytes, flips: list[tuple[int, int]]) -> None:
    changed = bytearray(seed)
    for place, byte in flips:
        changed[place % len(changed)] = byte
    verdict = inspect(bytes(changed), now=NOW).verdict
    if verdict != "refuse" and changed[:1] == b"\x30" and seed is not SEEDS[0]:
        assert reasons(bytes(changed), NOW) == []


@FUZZ
@given(seed=st.sampled_from(PEMS[:3]), edits=EDITS, choose=st.text(max_size=70), accept_expired=st.booleans())
def test_any_choice_gets_a_verdict(
    seed: bytes, edits: list[tuple[int, bytes, int]], choose: str, accept_expired: bool
) -> None:
    inspection = inspect(mutated(seed, edits), now=NOW, choose=choose, accept_expired=accept_expired)
    assert inspection.verdict in VERDICTS
    assert inspection.chosen is None or inspection.chosen in inspection.candidates


@FUZZ
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_anything_gets_a_verdict(data: bytes | str) -> None:
    assert inspect(data, now=NOW).verdict == "refuse"
