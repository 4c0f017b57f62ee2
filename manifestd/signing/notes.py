"""Signing and verifying notes and checkpoints (C2SP signed-note, tlog-checkpoint) with our keys.

Two signature types of that specification: 0x01, Ed25519, and 0x02, ECDSA, of
which verifiers elsewhere hash with SHA-256 whatever the curve; so P-256 only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from manifestd.errors import SignatureError, UsageError
from manifestd.model.note import (
    ECDSA,
    ED25519,
    Checkpoint,
    NoteKey,
    NoteSignature,
    format_note,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from manifestd.signing.base import Signer
from manifestd.signing.public import PublicKey, read_public_key

_USABLE: Final = {"p256", "ed25519"}


class OpenedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint whose signatures were verified.

    Attributes:
        checkpoint: What it says.
        keys: The trusted keys that signed it, in the order of the note.
        note: Its bytes.
    """

    checkpoint: Checkpoint
    keys: list[PublicKey]
    note: bytes


def note_key(key: PublicKey, name: str) -> NoteKey:
    """The key as signed notes know it, under a name.

    Raises:
        UsageError: A kind of key that notes cannot be signed with.
    """
    public = serialization.load_pem_public_key(key.pem)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return NoteKey(name, ED25519, public.public_bytes_raw())
    if key.algorithm not in _USABLE:
        raise UsageError(
            f"a {key.algorithm} key cannot sign checkpoints", hint="use a P-256 or an Ed25519 key"
        )
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return NoteKey(name, ECDSA, der)


def sign_note(text: str, signer: Signer, name: str) -> NoteSignature:
    """One signature line over a note's text.

    Args:
        text: The text, its final newline included.
        signer: The key.
        name: Its name in the note; of a log's own key the log's origin.

    Raises:
        UsageError: A kind of key that notes cannot be signed with.
        SignatureError: What the signer returned does not verify (a failing device).
    """
    key = read_public_key(signer.public_pem())
    named = note_key(key, name)
    signature = signer.sign(text.encode())
    if not key.verifies(signature, text.encode()):
        raise SignatureError("the signer returned a signature that its own key does not verify")
    return NoteSignature(name, named.key_id, signature)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """The note of a checkpoint, signed with the log's key under its origin; errors as above."""
    text = checkpoint.text()
    return format_note(text, [sign_note(text, signer, checkpoint.origin)])


def add_signature(note: bytes, signer: Signer, name: str) -> bytes:
    """A note with one more signature. The caller has checked what it says.

    Raises:
        MalformedError: Not a note.
        UsageError, SignatureError: As :func:`sign_note`.
    """
    parsed = parse_note(note)
    added = sign_note(parsed.text, signer, name)
    others = [
        item for item in parsed.signatures if (item.name, item.key_id) != (added.name, added.key_id)
    ]
    return format_note(parsed.text, [*others, added])


def open_checkpoint(note: bytes, keys: Iterable[PublicKey]) -> OpenedCheckpoint:
    """Verify a checkpoint with trusted keys, then say what it says.

    A key counts under whatever name the note gives it: the name is covered by no
    signature and proves nothing.

    Raises:
        MalformedError: Not a note, or not a checkpoint.
        SignatureError: The signature of a trusted key is wrong.
        UntrustedError: No trusted key signed it.
    """
    trusted = [key for key in keys if key.algorithm in _USABLE]
    names = list(dict.fromkeys(item.name for item in parse_note(note).signatures))
    known: dict[NoteKey, PublicKey] = {}
    for name in names:
        known.update((note_key(key, name), key) for key in trusted)
    text, signed = verify_note(
        note, known, lambda key, message, signature: known[key].verifies(signature, message)
    )
    found = list({known[key].key_id: known[key] for key in signed}.values())
    return OpenedCheckpoint(checkpoint=parse_checkpoint(text), keys=found, note=note)
