"""The certificate card, as a page shows it, against what `openssl x509 -text` prints: every field, every fixture."""

from __future__ import annotations

import html
import ipaddress
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from django.template.loader import render_to_string

from apps.pki.bundle import read_bundle
from apps.pki.certificate import read_certificate
from apps.pki.general_names import shown_name
from apps.web.plots import validity_bar
from tests.certs import CLIENT_AUTH, SERVER_AUTH, make_ca
from tests.unit.pki import raw

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
REAL_ROOTS = BLOCK.findall(Path(certifi.where()).read_text(encoding="utf-8"))
SIGNATURES = {
    "sha1WithRSAEncryption": "RSA with SHA-1",
    "sha256WithRSAEncryption": "RSA with SHA-256",
    "sha384WithRSAEncryption": "RSA with SHA-384",
    "sha512WithRSAEncryption": "RSA with SHA-512",
    "ecdsa-with-SHA256": "ECDSA with SHA-256",
    "ecdsa-with-SHA384": "ECDSA with SHA-384",
    "ecdsa-with-SHA512": "ECDSA with SHA-512",
}
LIMITS = x509.NameConstraints(
    [
        x509.DNSName(".a.example"),
        x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
        x509.IPAddress(ipaddress.ip_network("2001:db8::/32")),
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "SE")])),
    ],
    [x509.RFC822Name("b.example"), x509.UniformResourceIdentifier("c.example")],
)
PAIR = [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b")]
EV = [
    x509.NameAttribute(NameOID.JURISDICTION_COUNTRY_NAME, "SE"),
    x509.NameAttribute(NameOID.BUSINESS_CATEGORY, "Private Organization"),
    x509.NameAttribute(NameOID.POSTAL_CODE, "111 22"),
    x509.NameAttribute(NameOID.STREET_ADDRESS, "Storgatan 1"),
]
MADE = {
    "RSA 2048": lambda: make_ca(key="rsa2048").pem,
    "RSA 4096, exponent 3": lambda: make_ca(key="rsa2048e3", hash_name="sha512").pem,
    "P-256": lambda: make_ca(key="ec256").pem,
    "P-384": lambda: make_ca(key="ec384", hash_name="sha384", path_length=0).pem,
    "P-521": lambda: make_ca(key="ec521", hash_name="sha512").pem,
    "many extensions": lambda: (
        make_ca(
            key_usage=("digital_signature", "key_cert_sign", "crl_sign", "key_agreement", "encipher_only"),
            extended_key_usage=(CLIENT_AUTH, SERVER_AUTH, x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2")),
            path_length=3,
            extensions=[(LIMITS, True)],
        ).pem
    ),
    "intermediate": lambda: make_ca("Issuing", issuer=make_ca("Root")).pem,
    "UTF-8 names": lambda: make_ca("Ångström 株式会社", organisation="Größe & Söhne, GmbH", country="DE").pem,
    "special characters": lambda: make_ca(' a+b,"c"\\<d>;#=', organisation="#x").pem,
    "multi-valued": lambda: make_ca(subject=x509.Name([x509.RelativeDistinguishedName(PAIR)])).pem,
    "extended validation": lambda: make_ca(subject=x509.Name(EV)).pem,
    "small serial": lambda: make_ca(serial=7).pem,
    "negative serial": lambda: raw.armour(raw.raw_certificate(serial=b"\xfe\x01\x02\x03\x04\x05\x06\x07\x08\x09")),
    "small negative serial": lambda: raw.armour(raw.raw_certificate(serial=b"\x85")),
    "long serial": lambda: raw.armour(raw.raw_certificate(serial=b"\x0f" + b"\xab" * 25)),
    "version 1": lambda: raw.armour(raw.raw_certificate(version=0, extensions=())),
    "no extensions stated": lambda: make_ca(ski=False, key_usage=None).pem,
}


def card(pem: str) -> dict[str, str]:
    """Label -> text, as a reader sees it."""
    facts = read_certificate(read_bundle(pem).ders[0])
    values = {"facts": facts, "bar": validity_bar(facts.not_before, facts.not_after), "ca": None}
    page = render_to_string("cas/_card.html", values)
    rows = re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", page, re.DOTALL)
    found = {label: " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split(" ")) for label, text in rows}
    groups = re.search(r'<div class="hex">(.*?)</div>', page)
    assert groups
    found["groups"] = " ".join(re.findall(r"<span>(\w+)</span>", groups[1]))
    copied = re.search(r'data-text="(\w+)"', page)
    assert copied
    found["copied"] = copied[1]
    return found


def openssl(pem: str, *options: str) -> str:
    command = ["openssl", "x509", "-noout", "-nameopt", "RFC2253,utf8,-esc_msb,-esc_ctrl", *options]
    return subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout


def one(pattern: str, text: str, otherwise: str = "") -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else otherwise


def check(pem: str) -> None:
    shown, text = card(pem), openssl(pem, "-text")
    subject, issuer = one(r"^\s+Subject: ?(.*)$", text), one(r"^\s+Issuer: ?(.*)$", text)
    assert normal(shown["Subject"]) == normal(subject)
    if subject == issuer:
        assert shown["Issuer"].startswith("Self-signed")
    else:
        assert normal(shown["Issuer"]) == normal(issuer)
    assert shown["Serial"] == serial(text)
    assert int(shown["Serial, decimal"]) == int(serial(text).replace(":", ""), 16)
    check_validity(pem, shown)
    check_key(text, shown)
    assert shown["Signature"] == SIGNATURES[one(r"Signature Algorithm: (.*)$", text)]
    check_extensions(text, shown)
    check_fingerprints(pem, shown)
    assert shown["Version"] == one(r"Version: (\d)", text)


def normal(name: str) -> str:
    """RFC 4514 writes STREET, OpenSSL street; a part of several values is a set, written in any order; and the card
    sets a blank after each comma between parts."""
    parts = re.split(r"(?<!\\), ?", name.replace("street=", "STREET="))
    return ",".join("+".join(sorted(re.split(r"(?<!\\)\+", part))) for part in parts)


def serial(text: str) -> str:
    """OpenSSL prints small numbers in decimal and hex, the others in pairs."""
    small = re.search(r"Serial Number: (-?)\d+ \(-?0x([0-9a-f]+)\)", text)
    if small:
        digits = small[2].upper()
        digits = digits.zfill(len(digits) + len(digits) % 2)
        return small[1] + ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
    long = re.search(r"Serial Number:\s+( \(Negative\))?([0-9a-f:]+)", text)
    assert long
    return ("-" if "(Negative)" in (long[1] or "") else "") + long[2].upper()


def check_validity(pem: str, shown: dict[str, str]) -> None:
    dates = re.findall(r"not\w+=(.*) GMT", openssl(pem, "-dates"))
    wanted = [datetime.strptime(date, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC) for date in dates]
    written = [date.strftime("%Y-%m-%d %H:%M:%S UTC") for date in wanted]
    assert [shown["Valid from"], shown["Valid until"]] == written


def check_key(text: str, shown: dict[str, str]) -> None:
    kind, bits = one(r"Public Key Algorithm: (.*)$", text), one(r"Public-Key: \((\d+) bit\)", text)
    if kind == "rsaEncryption":
        exponent = one(r"Exponent: (\d+)", text)
        assert shown["Key"] == f"RSA {bits} exponent {exponent}"
    else:
        curve = one(r"NIST CURVE: (.*)$", text)
        assert (kind, shown["Key"]) == ("id-ecPublicKey", f"ECDSA {curve}")


def extension(text: str, name: str) -> str:
    return one(rf"X509v3 {name}:.*\n\s+(.*)$", text)


def check_extensions(text: str, shown: dict[str, str]) -> None:
    basic = extension(text, "Basic Constraints")
    wanted = re.sub(r"CA:(TRUE|FALSE)", lambda found: f"CA: {found[1].lower()}", basic)
    assert shown["Constraints"] == (wanted.replace("pathlen:", "path length ") or "none stated")
    assert shown["Key usage"] == (extension(text, "Key Usage") or "none stated")
    assert shown.get("Extended usage", "") == extension(text, "Extended Key Usage")
    assert shown["SKI"] == (extension(text, "Subject Key Identifier").replace(":", "") or "none")
    authority = extension(text, "Authority Key Identifier").removeprefix("keyid:")
    pairs = authority if re.fullmatch(r"([0-9A-F]{2}:)+[0-9A-F]{2}", authority) else ""
    assert shown["AKI"] == (pairs.replace(":", "") or "none")
    if limits := re.search(r"Name Constraints:.*\n((?: {16}.*\n)+)", text):
        kinds = {"Permitted": "Only", "Excluded": "Never"}
        parts = re.findall(r"(Permitted|Excluded):\s*\n((?: {18}.*\n)+)", limits[1])
        words = [f"{kinds[kind]} {', '.join(line.strip() for line in lines.splitlines())}" for kind, lines in parts]
        assert shown["Names"] == "".join(words).replace("DirName:C = SE", "DirName:C=SE")
    else:
        assert "Names" not in shown


def check_fingerprints(pem: str, shown: dict[str, str]) -> None:
    sha256 = one(r"=(.*)$", openssl(pem, "-fingerprint", "-sha256")).replace(":", "")
    sha1 = one(r"=(.*)$", openssl(pem, "-fingerprint", "-sha1")).replace(":", "")
    assert shown["groups"] == " ".join(sha256[at : at + 4] for at in range(0, 64, 4))
    assert shown["copied"] == sha256.lower()
    assert shown["SHA-1"] == f"{sha1} for matching only"


@pytest.mark.parametrize("fixture", MADE)
def test_made_certificates(fixture: str) -> None:
    check(MADE[fixture]())


@pytest.mark.parametrize("block", range(4))
def test_real_roots(block: int) -> None:
    roots = REAL_ROOTS[block::4]
    assert len(roots) > 20
    for pem in roots:
        check(pem)


def test_what_a_card_says_of_its_own_signature() -> None:
    old = make_ca("Rolling")
    assert "the same name with another key" in card(make_ca("Rolling", issuer=old).pem)["Issuer"]
    assert "did not sign it" in card(make_ca("Rolling", issuer=make_ca("Rolling"), ski=False).pem)["Issuer"]
    assert "not checked" in card(make_ca(key="ed25519").pem)["Issuer"]
    critical = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b""), True)
    assert card(make_ca(extensions=[critical]).pem)["Critical"] == "1.2.3.4 (not widely known)"


def test_names_of_every_kind_are_shown_harmless() -> None:
    for name, text in (
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), "Registered ID:1.2.3"),
        (x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), "othername:1.2.3"),
        (x509.DNSName("a\nb"), "DNS:a\\0Ab"),
        (x509.IPAddress(ipaddress.ip_address("2001:db8::1")), "IP:2001:DB8:0:0:0:0:0:1"),
    ):
        assert shown_name(name) == text
