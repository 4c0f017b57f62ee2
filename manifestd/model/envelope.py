"""DSSE envelopes in sigstore bundles v0.3, and the pre-authentication encoding (dsse protocol.md)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model import media_types
from manifestd.model.digest import Digest, of_hex

MAX_READ: Final = 16 * 1024 * 1024
"""Bytes of a signature bundle that is looked into without being verified."""

_ORDERS: Final = (
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    (1 << 384) - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
    (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
)
"""Orders of P-256, P-384 and P-521 (FIPS 186-5, SP 800-186 section 3.2.1)."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature. ``keyid`` is a hint that nothing may rely on (DSSE, section "Protocol")."""

    keyid: str = ""
    sig: str


class DsseEnvelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Payload (base64), its type, and signatures over their pre-authentication encoding."""

    payload: str
    payload_type: str
    signatures: list[Signature]


class PublicKeyHint(msgspec.Struct, frozen=True, kw_only=True):
    """Names the key: sha256 hex of its PEM text, as OMS bundles do."""

    hint: str


class VerificationMaterial(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The public-key form of the material; certificates are refused elsewhere with a reason."""

    public_key: PublicKeyHint
    tlog_entries: list[dict[str, str]] = []


class Bundle(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A sigstore bundle v0.3 with exactly one DSSE signature by a plain public key."""

    media_type: str = media_types.SIGSTORE_BUNDLE
    verification_material: VerificationMaterial
    dsse_envelope: DsseEnvelope


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes a DSSE signature covers.

    Example:
        >>> pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def decode_base64(text: str) -> bytes:
    """Decode standard or URL-safe base64 with padding, strictly.

    Raises:
        MalformedError: Foreign characters or wrong padding.
    """
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("not base64") from error


def digests_of(bundle: bytes) -> list[Digest]:
    """Every digest under which this one signed statement may lie; its own comes first.

    Of an ECDSA signature (r, s) everybody can make (r, n - s), which is as right, without the
    key (SEC 1, section 4.1.4). A statement that counts once, or was taken back, must be known
    again under both. Nothing is verified here.

    Raises:
        MalformedError: Not a bundle with a DSSE envelope.
    """
    found = [of_hex(canonical.sha256_hex(bundle))]
    document: Any = canonical.decode_foreign(bundle, name="signature", max_size=MAX_READ)
    try:
        [signature] = document["dsseEnvelope"]["signatures"]
        pair = _pair(decode_base64(signature["sig"]))
        if pair is not None:
            for order in _ORDERS:
                # Which curve it was is not known here: what fits none of ours is nobody's digest.
                if max(pair) < order:
                    other = _der(pair[0], order - pair[1])
                    signature["sig"] = base64.b64encode(other).decode()
                    found.append(of_hex(canonical.sha256_hex(canonical.encode(document))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError("not a signature bundle with an in-toto statement") from error
    return found


def _pair(signature: bytes) -> tuple[int, int] | None:
    """The two numbers of an ECDSA signature in DER; None for what is none."""
    try:
        body, rest = _field(signature, 0x30)
        first, body = _field(body, 0x02)
        second, more = _field(body, 0x02)
    except IndexError:
        return None
    pair = int.from_bytes(first, "big"), int.from_bytes(second, "big")
    return pair if not rest and not more and _der(*pair) == signature else None


def _field(data: bytes, tag: int) -> tuple[bytes, bytes]:
    if data[0] != tag:
        raise IndexError
    length, start = data[1], 2
    if length == 0x81:
        length, start = data[2], 3
    return data[start : start + length], data[start + length :]


def _der(*numbers: int) -> bytes:
    fields = b""
    for number in numbers:
        value = number.to_bytes(number.bit_length() // 8 + 1, "big")
        fields += b"\x02" + bytes([len(value)]) + value
    long = b"\x81" if len(fields) > 0x7F else b""
    return b"\x30" + long + bytes([len(fields)]) + fields
