"""What is read from a certificate, held against the cryptography library and OpenSSL's words."""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from apps.errors import Invalid
from apps.pki.certificate import CertificateUnreadable, read_certificate, signed_by
from apps.pki.der import DerError, read_element, read_oid
from apps.pki.names import mixes_scripts, safe_text
from tests.certs import CLIENT_AUTH, Made, make_ca, make_leaf
from tests.unit.pki import raw


def test_every_fact_of_a_root() -> None:
    since, until = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2036, 1, 2, tzinfo=UTC)
    made = make_ca(
        "Northwind Root", key="ec384", hash_name="sha384", organisation="Northwind", country="SE",
        serial=0x0A1B2C, path_length=1, not_before=since, not_after=until,
    )  # fmt: skip
    facts = read_certificate(made.der)
    spki = made.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert facts.fingerprint == made.fingerprint
    assert facts.fingerprint_sha1 == made.cert.fingerprint(hashes.SHA1()).hex()  # noqa: S303
    assert facts.public_key_fingerprint == hashlib.sha256(spki).hexdigest()
    assert (facts.pem, facts.der, facts.version) == (made.pem, made.der, 3)
    assert facts.subject == facts.issuer == made.cert.subject.rfc4514_string()
    assert (facts.subject_cn, facts.organisation, facts.country) == ("Northwind Root", "Northwind", "SE")
    assert (facts.serial, facts.serial_hex) == (0x0A1B2C, "0A:1B:2C")
    assert (facts.not_before, facts.not_after) == (since, until)
    assert (facts.key_algorithm, facts.key_size, facts.curve, facts.key_label) == (
        *("ECDSA", 384, "P-384"),
        "ECDSA P-384",
    )
    assert (facts.signature_oid, facts.signature_label) == ("1.2.840.10045.4.3.3", "ECDSA with SHA-384")
    assert (facts.is_ca, facts.basic_constraints_critical, facts.path_length) == (True, True, 1)
    assert (facts.key_usage, facts.extended_key_usage) == (("Certificate Sign", "CRL Sign"), ())
    assert facts.ski == facts.aki == made.ski
    assert (facts.self_issued, facts.self_signature) == (True, "valid")


def test_facts_of_a_leaf_under_an_intermediate(root: Made) -> None:
    below = make_ca("Issuing", issuer=root, path_length=0)
    leaf = make_leaf("client", issuer=below, key_usage=("digital_signature", "key_agreement", "encipher_only"))
    facts = read_certificate(leaf.der)
    assert (facts.is_ca, facts.self_issued, facts.self_signature) == (False, False, "not_applicable")
    assert facts.key_usage == ("Digital Signature", "Key Agreement", "Encipher Only")
    assert facts.extended_key_usage == ("TLS Web Client Authentication",)
    assert (facts.aki, facts.issuer) == (below.ski, "CN=Issuing")
    assert read_certificate(below.der).self_signature == "not_applicable"


def test_to_dict_is_json_safe_and_small(rsa_root: Made) -> None:
    facts = read_certificate(rsa_root.der)
    values = json.loads(json.dumps(facts.to_dict()))
    assert not {"der", "rsa_modulus"} & set(values)
    assert values["serial"] == str(facts.serial)
    assert datetime.fromisoformat(values["not_after"]) == facts.not_after
    assert values["key_usage"] == ["Certificate Sign", "CRL Sign"]
    assert (values["key_label"], values["rsa_exponent"]) == ("RSA 2048", "65537")


def test_absent_extensions_leave_empty_values() -> None:
    facts = read_certificate(make_ca(ski=False, ca=None, key_usage=None).der)
    assert (facts.is_ca, facts.path_length, facts.basic_constraints_critical) == (None, None, False)
    assert (facts.ski, facts.aki, facts.key_usage, facts.has_key_usage) == ("", "", (), False)


def test_an_authority_identifier_without_a_key_is_empty() -> None:
    names = [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))]
    extension = x509.AuthorityKeyIdentifier(None, names, 1)
    facts = read_certificate(make_ca(ski=False, extensions=[(extension, False)]).der)
    assert (facts.aki, facts.self_signature) == ("", "valid")


def test_a_roll_over_certificate_is_no_root() -> None:
    old = make_ca("Rolling")
    facts = read_certificate(make_ca("Rolling", issuer=old).der)
    assert (facts.self_issued, facts.self_signature) == (True, "not_applicable")


@pytest.mark.parametrize(
    ("key", "label", "algorithm"),
    [("ed25519", "Ed25519", "Ed25519"), ("ec224", "ECDSA P-224", "ECDSA"), ("dsa2048", "DSA 2048", "DSA")],
)
def test_keys_that_are_not_accepted_still_have_a_name(key: str, label: str, algorithm: str) -> None:
    facts = read_certificate(make_ca(key=key).der)
    assert (facts.key_label, facts.key_algorithm) == (label, algorithm)


def test_subjects_come_out_harmless() -> None:
    hostile = 'a\r\nb\x1b[31m\u202ec,d+"\\<script>;=x\u200b'
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostile)])
    facts = read_certificate(make_ca(subject=subject).der)
    assert facts.subject == ('CN=a\\0D\\0Ab\\1B[31m\\E2\\80\\AEc\\,d\\+\\"\\\\\\<script\\>\\;=x\\E2\\80\\8B')
    assert facts.subject.isprintable()
    assert facts.subject_cn == 'a\\0D\\0Ab\\1B[31m\\E2\\80\\AEc,d+"\\<script>;=x\\E2\\80\\8B'
    assert facts.hidden_characters


def named(*parts: tuple[str, int, bytes]) -> str:
    return read_certificate(raw.raw_certificate(subject=raw.name(*parts))).subject


def test_old_and_broken_strings_are_read() -> None:
    common = "2.5.4.3"
    assert named((common, 0x0C, b"\xff\xfe")) == "CN=\\\\xff\\\\xfe"
    assert named((common, 0x14, b"caf\xe9")) == "CN=café"
    assert named((common, 0x1E, "Ωmega".encode("utf-16-be"))) == "CN=Ωmega"
    assert named((common, 0x1C, "Root".encode("utf-32-be"))) == "CN=Root"
    assert named((common, 0x09, b"\x03")) == "CN=#090103"
    assert named((common, 0x0C, b"NUL\0")) == "CN=NUL\\00"
    assert named(("1.2.3.4", 0x0C, b" #x ")) == "1.2.3.4=\\ #x\\ "
    assert named((common, 0x0C, b"#x")) == "CN=\\#x"
    assert named((common, 0x0C, b"")) == "CN="
    assert named() == ""


def test_multi_valued_and_huge_subjects_are_read() -> None:
    pair = [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b")]
    multi = x509.Name([x509.RelativeDistinguishedName(pair)])
    assert set(read_certificate(make_ca(subject=multi).der).subject.split("+")) == {"CN=a", "O=b"}
    many = tuple(("2.5.4.11", 0x0C, b"unit %d" % number) for number in range(200))
    assert named(*many).startswith("OU=unit 199,OU=unit 198")
    assert len(named(("2.5.4.3", 0x0C, b"x" * 5000))) == 5003


def test_scripts_and_lone_surrogates() -> None:
    assert mixes_scripts("p\u0430ypal")
    assert not mixes_scripts("\u041c\u043e\u0441\u043a\u0432\u0430 Root")
    assert not mixes_scripts("plain")
    assert safe_text("a\ud800") == "a\\ED\\A0\\80"


@pytest.mark.parametrize(("serial", "number", "pairs"), [(b"\0", 0, "00"), (b"\xff", -1, "-01")])
def test_serials_of_zero_and_below_are_read_without_a_warning(serial: bytes, number: int, pairs: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = read_certificate(raw.raw_certificate(serial=serial))
    assert (facts.serial, facts.serial_hex) == (number, pairs)


def test_reading_in_threads_leaves_the_warning_filters_alone(root: Made) -> None:
    before = list(warnings.filters)
    workers = [threading.Thread(target=read_certificate, args=(root.der,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert warnings.filters == before


UNREADABLE = {
    "empty": b"",
    "garbage": b"\x30\x03\x02\x01\x01",
    "version 8": raw.raw_certificate(version=7),
    "fractional seconds": raw.raw_certificate(dates=(raw.DEFAULT_DATES[0], b"\x18\x1120500101000000.5Z")),
    "zone offset": raw.raw_certificate(dates=(raw.DEFAULT_DATES[0], b"\x17\x11490101000000+0100")),
    "no seconds": raw.raw_certificate(dates=(raw.DEFAULT_DATES[0], b"\x17\x0b4901010000Z")),
    "four-digit year as UTCTime": raw.raw_certificate(dates=(raw.DEFAULT_DATES[0], b"\x17\x0f20500101000000Z")),
    "serial number empty": raw.raw_certificate(serial=b""),
    "serial number padded": raw.raw_certificate(serial=b"\0\0\7"),
    "negative serial number padded": raw.raw_certificate(serial=b"\xff\xff"),
    "zero padded": raw.raw_certificate(serial=b"\0\0"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_certificates_are_one_kind_of_error(case: str) -> None:
    with pytest.raises(CertificateUnreadable) as refused:
        read_certificate(UNREADABLE[case])
    assert isinstance(refused.value, Invalid)
    assert (refused.value.code, refused.value.field) == ("readable", "pem")
    assert refused.value.advice.endswith(".")


FAULTY = {
    "extension twice": ([raw.BASIC_CONSTRAINTS] * 2, "twice"),
    "constraints malformed": ([("2.5.29.19", True, b"\x30\x01")], "damaged"),
    "false with a path length": ([("2.5.29.19", True, bytes.fromhex("3003020100"))], "damaged"),
    "false written out": ([("2.5.29.19", True, bytes.fromhex("3003010100"))], "damaged"),
    "true written as 1": ([("2.5.29.19", True, bytes.fromhex("3003010101"))], "damaged"),
    "X.400 name": ([raw.BASIC_CONSTRAINTS, ("2.5.29.17", False, bytes.fromhex("3002a300"))], "X.400"),
    "key usage malformed": ([raw.BASIC_CONSTRAINTS, ("2.5.29.15", True, b"\x03\x00")], "damaged"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_extension_is_a_fact_and_the_rest_is_still_read(case: str) -> None:
    extensions, words = FAULTY[case]
    facts = read_certificate(raw.raw_certificate(extensions=extensions))
    assert words in facts.extensions_fault
    assert (facts.is_ca, facts.ski, facts.has_key_usage) == (None, "", False)
    assert (facts.subject, facts.key_label) == ("CN=Raw", "ECDSA P-256")


def test_who_signed_whom_is_told_by_the_signature(root: Made, rsa_root: Made) -> None:
    below = read_certificate(make_ca("Issuing", issuer=root).der)
    assert signed_by(below, read_certificate(root.der)) == "valid"
    assert signed_by(below, read_certificate(rsa_root.der)) == "invalid"
    assert signed_by(below, read_certificate(make_ca("Test Root").der)) == "invalid"
    assert signed_by(read_certificate(make_ca(key="ed25519").der), below) == "unchecked"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x1f\x01",
        b"\x30\x80",
        b"\x30\x81\x05",
        b"\x30\x82\x00\x80",
        b"\x30\x85" + b"\1" * 9,
        b"\x30\x05a",
    ],
)
def test_elements_that_are_not_der_are_refused(data: bytes) -> None:
    with pytest.raises(DerError):
        read_element(data)


def test_object_identifiers() -> None:
    assert read_oid(bytes.fromhex("2a864886f70d")) == "1.2.840.113549"
    assert read_oid(bytes.fromhex("8837")) == "2.999"
    with pytest.raises(DerError):
        read_oid(b"")


def test_client_authentication_is_told_from_any(root: Made) -> None:
    any_usage = x509.ObjectIdentifier("2.5.29.37.0")
    facts = read_certificate(make_ca(extended_key_usage=(CLIENT_AUTH, any_usage, x509.ObjectIdentifier("1.2.3"))).der)
    assert facts.extended_key_usage == ("TLS Web Client Authentication", "Any Extended Key Usage", "1.2.3")
