"""DSSE envelopes in sigstore bundles v0.3, and the pre-authentication encoding (dsse protocol.md)."""

from __future__ import annotations

import base64
import binascii

import msgspec

from manifestd.errors import MalformedError
from manifestd.model import media_types


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
