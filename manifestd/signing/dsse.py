"""Sigstore bundles v0.3 with one DSSE signature by a plain key: made, opened, verified.

A bundle is verified before its payload is parsed, with keys from the trust
configuration only. What we write has exactly one spelling; :func:`verify_bundle`
refuses every other, so that no byte of a stored bundle can change unnoticed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, NotCanonicalError, SignatureError, UntrustedError
from manifestd.model import media_types
from manifestd.model.envelope import (
    Bundle,
    DsseEnvelope,
    PublicKeyHint,
    Signature,
    VerificationMaterial,
    decode_base64,
    pre_authentication_encoding,
)
from manifestd.signing.base import Signer
from manifestd.signing.public import PublicKey, read_public_key

MAX_BUNDLE: Final = 1024 * 1024
"""Bytes; a signed snapshot has about 1.5 KiB, whatever the number of its files."""

_HEX = re.compile(r"[0-9a-f]{64}\Z")


class OtherTrustError(MalformedError):
    """A bundle that is verified by other means than a plain key. Nothing is wrong with it."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle taken apart. Nothing in it is verified yet.

    Attributes:
        payload: The bytes that were signed (in their pre-authentication encoding).
        payload_type: Their media type, covered by the signature.
        signature: The one signature.
        keyid: A hint at the key, by the envelope; may be empty.
        hint: A hint at the key, by the bundle; may be empty.
    """

    payload: bytes
    payload_type: str
    signature: bytes
    keyid: str = ""
    hint: str = ""

    def signed_bytes(self) -> bytes:
        """The pre-authentication encoding, which the signature covers."""
        return pre_authentication_encoding(self.payload_type, self.payload)

    def claimed_key(self) -> str:
        """How to name the key it claims on a screen: a key id, or ``unknown``."""
        return next((name for name in (self.keyid, self.hint) if _HEX.match(name)), "unknown")


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A payload whose signature by ``key`` is right."""

    payload: bytes
    key: PublicKey


def sign_statement(statement: bytes, signer: Signer) -> bytes:
    """Sign an in-toto statement; returns the canonical JSON of the bundle.

    Raises:
        SignatureError: What the signer returned does not verify (a failing device).
    """
    key = read_public_key(signer.public_pem())
    data = pre_authentication_encoding(media_types.IN_TOTO, statement)
    signature = signer.sign(data)
    if not key.verifies(signature, data):
        raise SignatureError("the signer returned a signature that its own key does not verify")
    return encode_bundle(
        Opened(
            payload=statement,
            payload_type=media_types.IN_TOTO,
            signature=signature,
            keyid=key.key_id,
            hint=key.hint,
        )
    )


def encode_bundle(parts: Opened) -> bytes:
    """The one spelling of a bundle that we write: canonical JSON, standard base64."""
    return canonical.encode(
        Bundle(
            verification_material=VerificationMaterial(
                public_key=PublicKeyHint(hint=parts.hint), tlog_entries=[]
            ),
            dsse_envelope=_envelope(parts),
        )
    )


def open_bundle(data: bytes, *, max_size: int = MAX_BUNDLE) -> Opened:
    """Take a bundle apart, in any JSON spelling. Verifies nothing and parses no payload.

    Raises:
        MalformedError: Too large, not JSON, unknown fields, or a kind of bundle that
            plain keys cannot verify (certificates, log entries, several signatures).
    """
    document = _object(canonical.decode_foreign(data, name="bundle", max_size=max_size), "bundle")
    if document.get("mediaType") != media_types.SIGSTORE_BUNDLE:
        raise MalformedError(
            "not a sigstore bundle v0.3", why=f"mediaType is not {media_types.SIGSTORE_BUNDLE}"
        )
    if "messageSignature" in document:
        raise MalformedError("the bundle signs a bare digest, not a statement")
    _only(document, {"mediaType", "verificationMaterial", "dsseEnvelope"}, "bundle")
    hint = _hint(_object(document.get("verificationMaterial"), "verificationMaterial"))
    envelope = _object(document.get("dsseEnvelope"), "dsseEnvelope")
    _only(envelope, {"payload", "payloadType", "signatures"}, "dsseEnvelope")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise MalformedError("a bundle must carry exactly one signature")
    signature = _object(signatures[0], "signature")
    _only(signature, {"sig", "keyid"}, "signature")
    return Opened(
        payload=decode_base64(_text(envelope, "payload")),
        payload_type=_text(envelope, "payloadType"),
        signature=decode_base64(_text(signature, "sig")),
        keyid="" if signature.get("keyid") is None else _text(signature, "keyid"),
        hint=hint,
    )


def verify_bundle(
    data: bytes, keys: Iterable[PublicKey], *, own: bool = True, max_size: int = MAX_BUNDLE
) -> Verified:
    """Verify a bundle with trusted keys and hand out its payload.

    Args:
        data: The bundle's bytes.
        keys: Keys that are trusted for something; no other key is ever used.
        own: We wrote it: refuse every spelling but ours, and hints that name another
            key. Bundles of others (OMS) may be spelled freely and leave hints out.
        max_size: Bytes; larger bundles are refused unread.

    Raises:
        MalformedError: Not a bundle we can verify; the reason is in the message.
        NotCanonicalError: With ``own``, not our spelling.
        UntrustedError: Signed by none of ``keys``.
        SignatureError: The signature is wrong, or its hints name another key.
    """
    parts = open_bundle(data, max_size=max_size)
    if own and encode_bundle(parts) != data:
        raise NotCanonicalError("the bundle is not in canonical form")
    if parts.payload_type != media_types.IN_TOTO:
        raise MalformedError("the signed payload is not an in-toto statement")
    trusted = list(keys)
    named = [key for key in trusted if parts.keyid == key.key_id or parts.hint == key.hint]
    signed = parts.signed_bytes()
    for key in named if own or named else trusted:
        if key.verifies(parts.signature, signed):
            if own and (parts.keyid, parts.hint) != (key.key_id, key.hint):
                raise SignatureError("the bundle names another key than the one that signed it")
            return Verified(payload=parts.payload, key=key)
    if named:
        raise SignatureError(
            f"the signature is not one of the key {named[0].key_id[:12]} over this payload",
            facts={"keyId": named[0].key_id},
        )
    raise UntrustedError(
        f"signed by the key {parts.claimed_key()[:12]}, which is not trusted",
        why="no [[trust]] entry of the configuration has this key",
        hint="if you know whose key it is, add its .pub file under [[trust]] in manifestd.toml",
        facts={"keyId": parts.claimed_key()},
    )


def dsse_envelope(parts: Opened) -> bytes:
    """The bare DSSE envelope, for securesystemslib and cosign's older form."""
    return canonical.encode(_envelope(parts))


def _envelope(parts: Opened) -> DsseEnvelope:
    return DsseEnvelope(
        payload=base64.b64encode(parts.payload).decode(),
        payload_type=parts.payload_type,
        signatures=[Signature(keyid=parts.keyid, sig=base64.b64encode(parts.signature).decode())],
    )


def _hint(material: dict[str, Any]) -> str:
    if "certificate" in material or "x509CertificateChain" in material:
        raise OtherTrustError(
            "the bundle is signed by a certificate, not by a plain key",
            hint="verify it with sigstore or cosign",
        )
    if material.get("tlogEntries") or material.get("timestampVerificationData"):
        raise OtherTrustError(
            "the bundle carries entries of a transparency log or time stamps",
            why="they cannot be checked offline with a plain key",
            hint="verify it with sigstore or cosign",
        )
    _only(
        material, {"publicKey", "tlogEntries", "timestampVerificationData"}, "verificationMaterial"
    )
    key = _object(material.get("publicKey"), "publicKey")
    # Older OMS bundles carry the key itself. It is read over: keys come from the trust.
    _only(key, {"hint", "rawBytes", "keyDetails"}, "publicKey")
    return "" if key.get("hint") is None else _text(key, "hint")


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"the bundle has no object {name}")
    return value


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise MalformedError(f"the bundle has no text {name}")
    return value


def _only(holder: dict[str, Any], known: set[str], name: str) -> None:
    unknown = holder.keys() - known
    if unknown:
        raise MalformedError(f"the bundle's {name} has an unknown field {min(unknown)[:80]!r}")
