"""Public keys: read from PEM, named, and asked whether a signature is right.

Three NIST curves with the SHA-2 of their size, and Ed25519; nothing else. The
algorithm follows from the key, never from the thing that is verified.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from manifestd.errors import MalformedError
from manifestd.signing.keyid import key_id, oms_hint

Algorithm = Literal["p256", "p384", "p521", "ed25519"]
CryptoKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

MAX_PEM: Final = 64 * 1024
"""Bytes; a P-521 key in PEM has 270."""

_CURVES: Final[dict[str, tuple[Algorithm, hashes.HashAlgorithm]]] = {
    "secp256r1": ("p256", hashes.SHA256()),
    "secp384r1": ("p384", hashes.SHA384()),
    "secp521r1": ("p521", hashes.SHA512()),
}


_SHORT: Final = 16 * 1024
"""Bytes up to which answers are kept, as many as models of a run are judged at once and more."""


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key and its names.

    Attributes:
        algorithm: Which kind it is.
        pem: SubjectPublicKeyInfo in PEM, 64-column lines, LF, final newline.
        key_id: As securesystemslib computes it; the ``keyid`` of our envelopes.
        hint: sha256 hex of ``pem``; the hint in our bundles.
    """

    algorithm: Algorithm
    pem: bytes
    key_id: str
    hint: str

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is this key's signature over ``data``."""
        # What has just been signed is verified, and judged again when it is compared.
        verifies = _remembered if len(data) <= _SHORT else _verifies
        return verifies(self.pem, signature, data)


@lru_cache(maxsize=64)
def read_public_key(pem: bytes) -> PublicKey:
    """Read a public key in any PEM spelling; the result has the one normal spelling.

    Raises:
        MalformedError: Not a PEM public key, or of a kind that is not supported.
    """
    return public_key_of(_crypto_key(pem))


def public_key_of_der(der: bytes) -> PublicKey:
    """Read a public key from DER (SubjectPublicKeyInfo), as key services hand it out.

    Raises:
        MalformedError: Not such a key, or of a kind that is not supported.
    """
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError("not a public key in DER form") from error
    return public_key_of(_supported(key))


def public_key_of(key: CryptoKey) -> PublicKey:
    """Name a key of the cryptography library.

    Raises:
        MalformedError: A curve that is not supported.
    """
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if isinstance(key, ed25519.Ed25519PublicKey):
        name = key_id("ed25519", "ed25519", key.public_bytes_raw().hex())
        return PublicKey(algorithm="ed25519", pem=pem, key_id=name, hint=oms_hint(pem))
    algorithm, _ = _curve(key.curve.name)
    name = key_id("ecdsa", f"ecdsa-sha2-nist{algorithm}", pem.decode())
    return PublicKey(algorithm=algorithm, pem=pem, key_id=name, hint=oms_hint(pem))


def curve_hash(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """The hash an ECDSA signature of this key is made over (P-256: SHA-256, and so on).

    Raises:
        MalformedError: A curve that is not supported.
    """
    return _curve(key.curve.name)[1]


def _curve(name: str) -> tuple[Algorithm, hashes.HashAlgorithm]:
    found = _CURVES.get(name)
    if found is None:
        raise MalformedError(
            f"the key's curve {name} is not supported", hint="use P-256, P-384, P-521 or Ed25519"
        )
    return found


def _verifies(pem: bytes, signature: bytes, data: bytes) -> bool:
    key = _crypto_key(pem)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, ec.ECDSA(curve_hash(key)))
    except InvalidSignature:
        return False
    return True


_remembered = lru_cache(maxsize=64)(_verifies)


@lru_cache(maxsize=64)
def _crypto_key(pem: bytes) -> CryptoKey:
    if len(pem) > MAX_PEM:
        raise MalformedError(f"too large for a key: {len(pem)} bytes")
    if b"PRIVATE KEY" in pem:
        raise MalformedError(
            "this is a private key, where a public one is expected",
            hint="name the .pub file that was written beside it",
        )
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError("not a public key in PEM form") from error
    return _supported(key)


def _supported(key: PublicKeyTypes) -> CryptoKey:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        _curve(key.curve.name)
        return key
    raise MalformedError(
        "the key is neither ECDSA nor Ed25519", hint="use P-256, P-384, P-521 or Ed25519"
    )
