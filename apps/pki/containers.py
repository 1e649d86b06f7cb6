"""Taking the certificates out of a PKCS#7 container, so that people can choose among them."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from apps.pki.library import quiet


def certificates_in(der: bytes) -> tuple[bytes, ...]:
    """The DER of each certificate in a PKCS#7 container (DER, or BER as some exporters write), in its order.

    Empty when it holds none, is encrypted, or cannot be read. Signatures of the container itself say nothing
    about its certificates and are not looked at.
    """
    with quiet():
        try:
            return tuple(cert.public_bytes(Encoding.DER) for cert in load_der_pkcs7_certificates(der))
        except Exception:  # hostile bytes reach a large parser here; whatever it raises means the same
            return ()
