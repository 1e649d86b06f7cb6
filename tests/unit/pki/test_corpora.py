"""Certificates nobody here made: real roots, the vectors of the cryptography library, and both of them damaged."""

from __future__ import annotations

import importlib.resources
import re
from datetime import UTC, datetime
from importlib.resources.abc import Traversable

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.pki.certificate import read_certificate
from apps.pki.findings import Severity
from apps.pki.inspection import inspect
from tests.certs import make_ca
from tests.unit.pki.conftest import only

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


def test_there_is_a_corpus() -> None:
    assert len(ROOTS) > 100
    assert len(VECTORS) > 1500


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


SEEDS = [
    make_ca().der,
    make_ca(key="rsa2048", path_length=0).der,
    *[data for name, data in VECTORS if name.endswith((".der", ".crt")) and len(data) < 3000][::9],
]
PEMS = [make_ca().pem.encode(), *(pem.encode() for pem in ROOTS[::40])]
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


@FUZZ
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_anything_gets_a_verdict(data: bytes | str) -> None:
    assert inspect(data, now=NOW).verdict == "refuse"
