"""Private keys in every form that people have, for tests that prove each is refused."""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.certs import make_ca
from tests.unit.pki.raw import armour


def private_keys() -> dict[str, bytes | str]:
    """A private key in every form, by the form's name. Those that are text and made up hold the word canary."""
    made, rsa_made = make_ca(), make_ca(key="rsa2048")
    none, secret = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"canary")
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    pkcs1, pkcs8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8
    openssh = serialization.PrivateFormat.OpenSSH
    openssh_pem = made.key.private_bytes(pem, openssh, none).decode()
    openssh_body = base64.b64decode("".join(openssh_pem.splitlines()[1:-1]))
    p12 = pkcs12.serialize_key_and_certificates(b"x", made.key, made.cert, None, secret)
    pkcs8_der = made.key.private_bytes(der, pkcs8, none)
    jwk = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "canary"}
    return {
        "PKCS#1": rsa_made.key.private_bytes(pem, pkcs1, none),
        "PKCS#1 encrypted": rsa_made.key.private_bytes(pem, pkcs1, secret),
        "PKCS#1 DER": rsa_made.key.private_bytes(der, pkcs1, none),
        "PKCS#8": made.key_pem,
        "PKCS#8 encrypted": made.key.private_bytes(pem, pkcs8, secret),
        "PKCS#8 DER": pkcs8_der,
        "PKCS#8 DER encrypted": made.key.private_bytes(der, pkcs8, secret),
        "PKCS#8 DER cut off": rsa_made.key.private_bytes(der, pkcs8, none)[:-9],
        "SEC1": made.key.private_bytes(pem, pkcs1, none),
        "SEC1 DER": made.key.private_bytes(der, pkcs1, none),
        "DSA": "-----BEGIN DSA PRIVATE KEY-----\ncanary\n-----END DSA PRIVATE KEY-----\n",
        "OpenSSH": openssh_pem,
        "OpenSSH behind another label": armour(openssh_body),
        "OpenSSH body in YAML": "key: " + base64.b64encode(openssh_body).decode(),
        "PVK": b"\x1e\xf1\xb5\xb0\0\0\0\0canary",
        "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\ncanary\n",
        "PGP": "-----BEGIN PGP PRIVATE KEY BLOCK-----\ncanary\n",
        "PKCS#12": p12,
        "PKCS#12 in base64": base64.b64encode(p12),
        "Java keystore": b"\xfe\xed\xfe\xed\0\0\0\2canary",
        "JWK": json.dumps(jwk),
        "JWK, symmetric": json.dumps({"keys": [{"kty": "oct", "k": "canary"}]}),
        "JWK inside JSON": json.dumps(json.dumps(jwk)),
        "XML": "<RSAKeyValue><Modulus>AA</Modulus><InverseQ>canary</InverseQ></RSAKeyValue>",
        "behind a certificate's label": armour(pkcs8_der),
        "behind an unknown label": armour(pkcs8_der, "NOTHING"),
        "bare base64 cut off": base64.b64encode(pkcs8_der)[:61],
        "bare base64": base64.b64encode(pkcs8_der),
        "JSON string": json.dumps(made.key_pem),
        "Kubernetes secret": "tls.key: " + base64.b64encode(made.key_pem.encode()).decode(),
        "UTF-16": b"\xff\xfe" + made.key_pem.encode("utf-16-le"),
        "UTF-16 cut off": b"\xff\xfe" + made.key_pem.encode("utf-16-le")[:-1],
        "UTF-16 without mark": made.key_pem.encode("utf-16-le"),
        "label broken over lines": made.key_pem.replace("PRIVATE KEY", "PRIVATE\n> KEY"),
        "small letters": made.key_pem.lower(),
        "mail quotes": "> " + made.key_pem.replace("\n", "\n> "),
    }
