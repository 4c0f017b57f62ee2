"""The two names a public key has: securesystemslib's key id and the hint of OMS bundles."""

from __future__ import annotations

import hashlib


def key_id(keytype: str, scheme: str, public: str) -> str:
    """The key id as securesystemslib computes it: sha256 hex of the key's OLPC canonical JSON.

    OLPC canonical JSON escapes only the quotation mark and the backslash, so the
    line breaks of a PEM text stand in it as they are: JSON encoders give another id.

    Args:
        keytype: ``ecdsa`` or ``ed25519``.
        scheme: ``ecdsa-sha2-nistp256`` …, or ``ed25519``.
        public: PEM text of an ECDSA key, raw key in hex of an Ed25519 key.

    Example:
        >>> key_id("ed25519", "ed25519", "00" * 32)[:16]
        '7f7373360bc914a5'
    """
    text = f'{{"keytype":"{keytype}","keyval":{{"public":"{public}"}},"scheme":"{scheme}"}}'
    return hashlib.sha256(text.encode()).hexdigest()


def oms_hint(pem: bytes) -> str:
    """The hint by which OMS bundles name a key: sha256 hex of its PEM text (not of the DER)."""
    return hashlib.sha256(pem).hexdigest()
