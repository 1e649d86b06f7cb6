"""Paths from clients to CAs, held against `openssl verify` and against rules that have one right answer."""

from __future__ import annotations

import ipaddress
import random
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from apps.pki.certificate import CertificateFacts, read_certificate
from apps.pki.chain import Fault, check_issuer, find_paths, path_problems
from apps.pki.issuing import Relation, member, relation
from tests.certs import CLIENT_AUTH, SERVER_AUTH, Made, make_ca, make_key, make_leaf
from tests.unit.pki import raw

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def facts(made: Made) -> CertificateFacts:
    return read_certificate(made.der)


def related(child: Made, parent: Made) -> Relation:
    return relation(member(facts(child)), member(facts(parent)))


def faults(*path: Made, now: datetime = NOW) -> list[Fault]:
    return [problem.fault for problem in path_problems([member(facts(made)) for made in path], now=now)]


@pytest.fixture(scope="module")
def below(root: Made) -> Made:
    return make_ca("Issuing", issuer=root)


def test_a_ca_issued_what_names_it_and_bears_its_signature(root: Made, below: Made) -> None:
    assert related(below, root) is Relation.ISSUED
    assert related(root, below) is Relation.OTHER_NAME
    assert related(below, make_ca("Test Root", organisation="Northwind", country="SE")) is Relation.OTHER_KEY
    other = make_ca("Test Root", organisation="Northwind", country="SE", ski=False)
    assert related(below, other) is Relation.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("rsa2048", {}),
        ("rsa2048", {"pss": True}),
        ("ec384", {"hash_name": "sha384"}),
        ("ec521", {"hash_name": "sha512"}),
        ("ed25519", {}),
        ("ed448", {}),
    ],
)
def test_every_usual_signature_is_checked(key: str, options: dict[str, object]) -> None:
    issuer = make_ca("Issuer", key=key)
    assert related(make_leaf(issuer=issuer, **options), issuer) is Relation.ISSUED
    twin = make_ca("Issuer", key=key, ski=False)
    assert related(make_leaf(issuer=issuer, **options), twin) is Relation.BAD_SIGNATURE


def test_a_signature_of_another_kind_of_key_is_bad(rsa_root: Made) -> None:
    twin = make_ca("RSA Root", key="ec256", ski=False)
    assert related(make_leaf(issuer=rsa_root), twin) is Relation.BAD_SIGNATURE


def test_sha1_is_checked_because_cloudflare_takes_it_and_md5_is_not(rsa_root: Made) -> None:
    for oid, digest, expected in (
        ("1.2.840.113549.1.1.5", hashes.SHA1(), Relation.ISSUED),  # noqa: S303
        ("1.2.840.113549.1.1.4", hashes.MD5(), Relation.UNCHECKED),  # noqa: S303
    ):
        made = member(read_certificate(raw.raw_certificate(key=rsa_root.key, signature_oid=oid, hash_algorithm=digest)))
        assert relation(made, made) is expected


def test_what_cannot_be_checked_is_not_called_bad() -> None:
    named = raw.name(("2.5.4.3", 0x0C, b"Odd"))
    child = member(read_certificate(raw.raw_certificate(issuer=named)))
    unusable = raw.raw_certificate(spki=raw.rsa_spki(3, 1), subject=named)
    huge = raw.raw_certificate(spki=raw.rsa_spki(2**9000 + 1, 65537), subject=named)
    for issuer in (unusable, huge):
        assert relation(child, member(read_certificate(issuer))) is Relation.UNCHECKED
    dsa = make_ca("DSA", key="dsa2048")
    assert related(make_leaf(issuer=dsa), dsa) is Relation.UNCHECKED
    unknown = member(read_certificate(raw.raw_certificate(signature_oid="1.2.3.4", issuer=named, subject=named)))
    assert relation(unknown, unknown) is Relation.UNCHECKED


def test_names_are_compared_without_case_blanks_and_string_types(root: Made) -> None:
    key = make_key()
    spellings = ((0x0C, b"Test  ROOT "), (0x13, b"test root"), (0x1E, "TEST root".encode("utf-16-be")))
    for tag, value in spellings:
        issuer = raw.raw_certificate(key=key, subject=raw.name(("2.5.4.3", tag, value)))
        child = raw.raw_certificate(key=key, issuer=raw.name(("2.5.4.3", 0x0C, b"Test Root")))
        assert relation(member(read_certificate(child)), member(read_certificate(issuer))) is Relation.ISSUED
    odd = raw.raw_certificate(key=key, subject=raw.name(("2.5.4.3", 0x09, b"\x03")))
    child = raw.raw_certificate(key=key, issuer=raw.name(("2.5.4.3", 0x0C, b"\x03")))
    assert relation(member(read_certificate(child)), member(read_certificate(odd))) is Relation.OTHER_NAME


def test_an_issuer_named_by_serial_and_name_is_that_one(root: Made) -> None:
    def authority(name: str, serial: int) -> list[tuple[x509.ExtensionType, bool]]:
        named = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        return [(x509.AuthorityKeyIdentifier(None, [named], serial), False)]

    issuer = make_ca("Numbered", serial=77)
    for name, serial, expected in (
        ("Numbered", 77, Relation.ISSUED),
        ("Numbered", 78, Relation.OTHER_KEY),
        ("Other", 77, Relation.OTHER_KEY),
    ):
        leaf = make_leaf(issuer=issuer, ski=False, extensions=authority(name, serial))
        assert related(leaf, issuer) is expected


def test_an_intermediate_is_checked_against_its_ca(root: Made, below: Made) -> None:
    found = check_issuer(facts(below), facts(root), now=NOW)
    assert (found.fits, found.relation, found.ski) == (True, Relation.ISSUED, below.ski)
    assert not check_issuer(facts(root), facts(below), now=NOW).fits
    over = make_ca("Over", issuer=root, not_after=NOW - DAY, not_before=NOW - 9 * DAY)
    found = check_issuer(facts(over), facts(root), now=NOW)
    assert (found.fits, [problem.fault for problem in found.problems]) == (False, [Fault.EXPIRED])


def test_dates_count_to_their_last_second(root: Made) -> None:
    leaf = make_leaf(issuer=root, not_before=NOW - DAY, not_after=NOW)
    assert faults(leaf, root) == []
    assert faults(leaf, root, now=NOW + timedelta(seconds=1)) == [Fault.EXPIRED]
    assert faults(leaf, root, now=NOW - DAY - timedelta(seconds=1)) == [Fault.NOT_YET_VALID, Fault.NOT_YET_VALID]


def test_an_anchor_counts_as_any_certificate_of_the_path() -> None:
    over = make_ca("Over", not_before=NOW - 9 * DAY, not_after=NOW - DAY, extended_key_usage=(SERVER_AUTH,))
    assert faults(make_leaf(issuer=over), over) == [Fault.EXPIRED, Fault.EKU]


def test_usages() -> None:
    root = make_ca("Root")
    leaf = make_leaf(issuer=root, server=True, key_usage=("key_encipherment",))
    assert faults(leaf, root) == [Fault.NOT_A_CLIENT, Fault.KEY_USAGE]
    no_sign = make_ca("No", key_usage=("crl_sign",))
    assert faults(make_leaf(issuer=no_sign), no_sign) == [Fault.CERT_SIGN]
    no_ca = make_ca("No", ca=None, key_usage=None)
    assert faults(make_leaf(issuer=no_ca, extended_key_usage=(), key_usage=None), no_ca) == [Fault.NOT_A_CA]
    odd = make_leaf(issuer=root, extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b""), True)])
    assert faults(odd, root) == [Fault.CRITICAL_EXTENSION]


def test_path_length_counts_intermediates_that_are_not_self_issued() -> None:
    root = make_ca("Root", path_length=1)
    first = make_ca("First", issuer=root)
    second = make_ca("Second", issuer=first)
    assert faults(make_leaf(issuer=first), first, root) == []
    assert faults(make_leaf(issuer=second), second, first, root) == [Fault.PATH_LENGTH]
    renewed = make_ca("First", issuer=first)
    assert faults(make_leaf(issuer=renewed), renewed, first, root) == []
    strict = make_ca("Strict", path_length=0)
    assert faults(make_leaf(issuer=strict), strict) == []


def names(*values: x509.GeneralName) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.SubjectAlternativeName(values), False)]


def directory(**parts: str) -> x509.DirectoryName:
    oids = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}
    return x509.DirectoryName(x509.Name([x509.NameAttribute(oids[key], value) for key, value in parts.items()]))


DNS, MAIL, URI, IP = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress
NET = IP(ipaddress.ip_network("10.0.0.0/8"))
CONSTRAINTS = {
    "dns below": ([DNS("a.example")], [], [DNS("x.A.example")], True),
    "dns itself": ([DNS("a.example")], [], [DNS("a.example")], True),
    "dns beside": ([DNS("a.example")], [], [DNS("ba.example")], False),
    "dns dotted below": ([DNS(".a.example")], [], [DNS("x.a.example")], True),
    "dns dotted itself": ([DNS(".a.example")], [], [DNS("a.example")], False),
    "dns excluded": ([], [DNS("a.example")], [DNS("x.a.example")], False),
    "dns excluded elsewhere": ([], [DNS("a.example")], [DNS("b.example")], True),
    "another kind is free": ([DNS("a.example")], [], [MAIL("x@b.example")], True),
    "two permitted": ([DNS("a.example"), DNS("b.example")], [], [DNS("x.b.example")], True),
    "permitted and excluded": ([DNS("a.example")], [DNS("x.a.example")], [DNS("x.a.example")], False),
    "one of two names": ([DNS("a.example")], [], [DNS("a.example"), DNS("b.example")], False),
    "mail host": ([MAIL("a.example")], [], [MAIL("x@A.example")], True),
    "mail subdomain of host": ([MAIL("a.example")], [], [MAIL("x@b.a.example")], False),
    "mail domain": ([MAIL(".a.example")], [], [MAIL("x@b.a.example")], True),
    "mail box": ([MAIL("x@a.example")], [], [MAIL("x@a.example")], True),
    "mail other box": ([MAIL("x@a.example")], [], [MAIL("y@a.example")], False),
    "uri host": ([URI("a.example")], [], [URI("spiffe://a.example/x")], True),
    "uri other host": ([URI("a.example")], [], [URI("spiffe://b.example/x")], False),
    "uri domain": ([URI(".a.example")], [], [URI("https://b.a.example:8443/x")], True),
    "ip inside": ([NET], [], [IP(ipaddress.ip_address("10.1.2.3"))], True),
    "ip outside": ([NET], [], [IP(ipaddress.ip_address("11.1.2.3"))], False),
    "ip of the other family": ([], [NET], [IP(ipaddress.ip_address("2001:db8::1"))], True),
    "directory": ([directory(C="SE", O="northwind")], [], [], True),
    "directory outside": ([directory(C="DE")], [], [], False),
    "directory excluded": ([], [directory(C="SE")], [], False),
    "directory among names": ([directory(C="SE")], [], [directory(C="DE", CN="x")], False),
}


@pytest.mark.parametrize("case", CONSTRAINTS)
def test_name_constraints(case: str, tmp_path: Path) -> None:
    permitted, excluded, given, allowed = CONSTRAINTS[case]
    limits = x509.NameConstraints(permitted or None, excluded or None)
    root = make_ca("Limiting", extensions=[(limits, True)])
    extensions = names(*given) if given else []
    leaf = make_leaf("client", issuer=root, organisation="Northwind", country="SE", extensions=extensions)
    found = path_problems([member(facts(leaf)), member(facts(root))], now=NOW)
    assert [problem.fault for problem in found] == ([] if allowed else [Fault.NAME_CONSTRAINTS])
    assert all(problem.name for problem in found)
    assert openssl_accepts(tmp_path, leaf, [root], []) is allowed


def test_names_in_the_subject_are_limited_too(tmp_path: Path) -> None:
    limits = x509.NameConstraints([DNS("a.example"), MAIL("a.example")], None)
    root = make_ca("Limiting", extensions=[(limits, True)])
    for oid, value, allowed in (
        (NameOID.COMMON_NAME, "x.a.example", True),
        (NameOID.COMMON_NAME, "x.b.example", False),
        (NameOID.COMMON_NAME, "some client", True),
        (NameOID.EMAIL_ADDRESS, "x@a.example", True),
        (NameOID.EMAIL_ADDRESS, "x@b.example", False),
    ):
        leaf = make_leaf(issuer=root, subject=x509.Name([x509.NameAttribute(oid, value)]))
        assert (faults(leaf, root) == []) is allowed
        assert openssl_accepts(tmp_path, leaf, [root], []) is allowed


def test_kinds_of_names_that_cannot_be_compared_are_not_allowed() -> None:
    number = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    for permitted, excluded in (([number], None), (None, [number])):
        root = make_ca("Limiting", extensions=[(x509.NameConstraints(permitted, excluded), True)])
        assert faults(make_leaf(issuer=root, extensions=names(number)), root) == [Fault.NAME_CONSTRAINTS]
        assert faults(make_leaf(issuer=root), root) == []
    root = make_ca("Limiting", extensions=[(x509.NameConstraints([URI("a.example")], None), True)])
    assert faults(make_leaf(issuer=root, extensions=names(URI("http://[broken"))), root) == [Fault.NAME_CONSTRAINTS]


def test_constraints_skip_self_issued_intermediates_but_not_clients() -> None:
    limits = x509.NameConstraints(None, [directory(CN="Rolling")])
    root = make_ca("Root", extensions=[(limits, True)])
    old = make_ca("Old", issuer=root)
    own = make_ca("Rolling", issuer=root)
    rolled = make_ca("Rolling", issuer=own)
    assert faults(make_leaf(issuer=old), old, root) == []
    assert faults(make_leaf(issuer=rolled), rolled, own, root) == [Fault.NAME_CONSTRAINTS]


def test_more_names_than_can_be_judged_are_refused() -> None:
    limits = x509.NameConstraints([DNS(f"{number}.example") for number in range(1000)], None)
    root = make_ca("Limiting", extensions=[(limits, True)])
    leaf = make_leaf(issuer=root, extensions=names(*(DNS(f"{number}.example") for number in range(200))))
    found = path_problems([member(facts(leaf)), member(facts(root))], now=NOW)
    assert (found[0].fault, found[0].name) == (Fault.NAME_CONSTRAINTS, "more names than can be judged")


def paths(client: Made, pool: Sequence[Made], *anchors: Made) -> dict[str, list[list[str]]]:
    found = find_paths(member(facts(client)), [member(facts(made)) for made in pool], [a.fingerprint for a in anchors])
    return {
        anchor: sorted([one.facts.fingerprint for one in path] for path in several)
        for anchor, several in found.paths.items()
    }


def test_a_cross_signed_issuer_leads_to_both_cas() -> None:
    first, second, key = make_ca("First"), make_ca("Second"), make_key()
    one, two = make_ca("Issuing", issuer=first, key=key), make_ca("Issuing", issuer=second, key=key)
    client = make_leaf(issuer=one)
    found = paths(client, [one, two, first, second], first, second)
    assert found == {
        first.fingerprint: [[client.fingerprint, one.fingerprint, first.fingerprint]],
        second.fingerprint: [[client.fingerprint, two.fingerprint, second.fingerprint]],
    }


def test_a_re_issued_ca_with_the_same_key_accepts_the_same_clients() -> None:
    key = make_key()
    old, new = make_ca("Root", key=key), make_ca("Root", key=key)
    assert set(paths(make_leaf(issuer=old), [old, new], old, new)) == {old.fingerprint, new.fingerprint}


def test_an_anchor_below_another_anchor_does_not_end_the_climb(root: Made, below: Made) -> None:
    found = paths(make_leaf(issuer=below), [root, below], root, below)
    assert {anchor: len(path[0]) for anchor, path in found.items()} == {below.fingerprint: 2, root.fingerprint: 3}


def test_a_loop_of_cross_signatures_ends() -> None:
    a, b = make_ca("A"), make_ca("B")
    ab, ba = make_ca("A", key=a.key, issuer=b), make_ca("B", key=b.key, issuer=a)
    found = paths(make_leaf(issuer=a), [ab, ba, a, b], b)
    assert [len(path) for path in found[b.fingerprint]] == [3]


def test_a_thicket_of_cross_signatures_is_bounded() -> None:
    keys = [make_key() for _ in range(9)]
    selves = [make_ca(f"CA {n}", key=key) for n, key in enumerate(keys)]
    mesh = [make_ca(f"CA {n}", key=keys[n], issuer=other) for n in range(9) for m, other in enumerate(selves) if m != n]
    search = find_paths(
        member(facts(make_leaf(issuer=selves[0]))), [member(facts(made)) for made in mesh], {"no such anchor"}
    )
    assert search.exhausted
    assert not search.paths


def openssl_accepts(folder: Path, client: Made, anchors: Sequence[Made], pool: Sequence[Made]) -> bool:
    """`openssl verify` with the same anchors: the second opinion."""
    anchored, offered = ("".join(made.pem for made in several) for several in (anchors, pool))
    return openssl_says(folder, client.pem, anchored, offered, at=NOW)


def openssl_says(folder: Path, client: str, anchors: str, pool: str, *, at: datetime) -> bool:
    """The same for PEM texts, at a given moment."""
    for name, text in (("client", client), ("anchors", anchors), ("pool", pool)):
        (folder / name).write_text(text)
    untrusted = ["-untrusted", "pool"] if pool else []
    command = ["openssl", "verify", "-partial_chain", "-purpose", "sslclient", "-no-CApath", "-no-CAstore"]
    command += ["-no-CAfile", "-attime", str(int(at.timestamp())), "-trusted", "anchors", *untrusted, "client"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


class Forest:
    """Random hierarchies in which everything that can go wrong does, now and then."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.keys = [make_key("ec256") for _ in range(4)]
        self.cas = [self.ca(None) for _ in range(2)]
        for _ in range(self.chance.randrange(5)):
            self.cas.append(self.ca(self.chance.choice(self.cas)))
        self.client = self.leaf(self.chance.choice(self.cas))

    def rarely(self, odds: float = 0.12) -> bool:
        return self.chance.random() < odds

    def dates(self) -> dict[str, datetime]:
        if self.rarely(0.06):
            return {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}
        return {"not_before": NOW + DAY, "not_after": NOW + 9 * DAY} if self.rarely(0.03) else {}

    def ca(self, issuer: Made | None) -> Made:
        limits: list[tuple[x509.ExtensionType, bool]] = []
        if self.rarely():
            some = [self.chance.choice([DNS("a.example"), DNS("b.example"), directory(C="SE")])]
            limits = [(x509.NameConstraints(*self.chance.choice([(some, None), (None, some)])), True)]
        return make_ca(
            f"CA {self.chance.randrange(3)}",
            country="SE",
            key=self.chance.choice(self.keys),
            issuer=issuer,
            path_length=self.chance.choice([0, 1, None, None, None]),
            key_usage=self.chance.choice([("key_cert_sign",)] * 9 + [None, ("crl_sign",)]),
            extended_key_usage=self.chance.choice([()] * 6 + [(CLIENT_AUTH,), (SERVER_AUTH,)]),
            ca=not self.rarely(0.04),
            ski=not self.rarely(),
            extensions=limits,
            **self.dates(),
        )

    def leaf(self, issuer: Made) -> Made:
        given = self.chance.choice([[], [DNS("x.a.example")], [DNS("x.b.example")], [DNS("c.example")]])
        return make_leaf(
            "client",
            issuer=issuer,
            country=self.chance.choice(["SE", "DE"]),
            key_usage=self.chance.choice([("digital_signature",)] * 6 + [None, ("key_encipherment",)]),
            extended_key_usage=self.chance.choice([(CLIENT_AUTH,)] * 6 + [(), (SERVER_AUTH,)]),
            ski=not self.rarely(),
            extensions=names(*given) if given else [],
            **self.dates(),
        )


@pytest.mark.parametrize("block", range(10))
def test_openssl_agrees_on_hundreds_of_random_hierarchies(block: int, tmp_path: Path) -> None:
    """Where nothing valid is found here, OpenSSL must refuse too, and the other way round.

    OpenSSL takes the first issuer that looks right and never turns back: where it refuses the whole pool it is asked
    again about the one path found here, and where even in that path two certificates look right, it is no oracle.
    """
    tally = {True: 0, False: 0}
    for number in range(40):
        forest = Forest(block * 1000 + number)
        anchor = forest.chance.choice(forest.cas)
        everything = [member(facts(made)) for made in forest.cas]
        search = find_paths(member(facts(forest.client)), everything, [anchor.fingerprint])
        found = search.paths.get(anchor.fingerprint, [])
        valid = [path for path in found if not path_problems(path, now=NOW)]
        said = openssl_accepts(tmp_path, forest.client, [anchor], forest.cas)
        if valid and not said:
            wanted = {one.facts.fingerprint for one in valid[0]}
            if any(relation(child, one) is Relation.BAD_SIGNATURE for child in valid[0] for one in valid[0]):
                continue
            said = openssl_accepts(
                tmp_path, forest.client, [anchor], [made for made in forest.cas if made.fingerprint in wanted]
            )
        assert said is bool(valid), f"seed {block * 1000 + number}"
        tally[said] += 1
    assert min(tally.values()) >= 5
    assert sum(tally.values()) >= 35
