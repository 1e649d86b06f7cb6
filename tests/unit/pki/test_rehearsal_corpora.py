"""Paths over certificates nobody here made: the PKITS suite against OpenSSL, and everything else for mere survival."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.errors import Invalid
from apps.pki.certificate import CertificateFacts, CertificateUnreadable, read_sound_certificate
from apps.pki.chain import find_paths, path_problems
from apps.pki.issuing import member
from apps.pki.rehearsal import Rehearsal, TrustedCa, rehearse
from tests.certs import make_ca, make_leaf
from tests.unit.pki.test_chain import openssl_says
from tests.unit.pki.test_corpora import ROOTS, VECTORS

# PKITS certificates are valid from 2010 to 2030.
DURING = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = make_ca("Root")
LEAF = make_leaf(issuer=ROOT)
TRUSTED = TrustedCa("root", "Root", read_sound_certificate(ROOT.der))


def readable(name: str, der: bytes) -> CertificateFacts | None:
    try:
        return read_sound_certificate(der)
    except CertificateUnreadable:
        assert "DSA" in name  # inherited parameters, which no modern library reads
        return None


@pytest.mark.filterwarnings("ignore")
def test_pkits_paths_end_as_they_do_in_openssl(tmp_path: Path) -> None:
    """Every end certificate of the suite, with all its CAs on offer. Policies and revocation are judged by neither."""
    read = {name: readable(name, der) for name, der in VECTORS if name.endswith(".crt")}
    suite = {name: facts for name, facts in read.items() if facts and "DSA" not in name}
    anchor = suite["TrustAnchorRootCertificate.crt"]
    pool = [facts for name, facts in suite.items() if facts.is_ca or "CA" in name]
    members = [member(facts) for facts in pool]
    tally = {True: 0, False: 0}
    for name, client in suite.items():
        if client.is_ca:
            continue
        others = [one for one in members if one.facts is not client]
        found = find_paths(member(client), others, [anchor.fingerprint]).paths.get(anchor.fingerprint, [])
        valid = any(not path_problems(path, now=DURING) for path in found)
        pems = "".join(facts.pem for facts in pool)
        assert openssl_says(tmp_path, client.pem, anchor.pem, pems, at=DURING) is valid, name
        tally[valid] += 1
    assert (tally[True] > 150, tally[False] > 40) == (True, True)


def survives(data: bytes | str, *cas: TrustedCa) -> Rehearsal | None:
    try:
        return rehearse(data, cas or (TRUSTED,), now=DURING)
    except Invalid:
        return None


@pytest.mark.filterwarnings("ignore")
def test_every_vector_is_rehearsed_or_refused() -> None:
    answered = [survives(data) for _, data in VECTORS]
    assert sum(result is not None for result in answered) > 300


@pytest.mark.filterwarnings("ignore")
def test_every_vector_as_an_issuer() -> None:
    known = []
    for _, data in VECTORS:
        try:
            known.append(read_sound_certificate(data))
        except CertificateUnreadable:
            continue
    crowd = TrustedCa("root", "Root", read_sound_certificate(ROOT.der), tuple(known))
    result = survives(LEAF.pem, crowd)
    assert result is not None
    assert result.verdicts[0].path


def test_real_roots_as_cas() -> None:
    cas = [TrustedCa(str(at), f"CA {at}", read_sound_certificate(_der(pem))) for at, pem in enumerate(ROOTS)]
    result = survives(LEAF.pem, *cas)
    assert result is not None
    assert (result.accepting, len(result.verdicts)) == ((), len(ROOTS))
    given = survives(ROOTS[0], *cas)
    assert given is not None
    assert given.reason is not None
    assert given.reason.message == "This is the CA CA 0 itself"


def _der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, len(LEAF.der) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_clients_give_an_answer_or_a_refusal(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(LEAF.der)
    for at, value in changes:
        damaged[at] = value
    result = survives(bytes(damaged))
    if result is not None and bytes(damaged) != LEAF.der:
        # One bit changed under the signature and it must not be accepted.
        assert result.reason is not None


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_anything_pasted_gives_an_answer_or_a_refusal(data: bytes | str) -> None:
    assert survives(data) is None
