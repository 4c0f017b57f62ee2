"""Signed notes, checkpoints and proof files of transparency logs.

The formats are C2SP's signed-note, tlog-checkpoint and tlog-proof. Text in, values
out; no keys, and no cryptography but SHA-256. What a note says must be ignored
until :func:`verify_note` has returned: its argument ``check`` is the signature check
of ``manifestd.signing``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from manifestd.errors import MalformedError, SignatureError, UntrustedError

ED25519: Final = 0x01
ECDSA: Final = 0x02
"""Signature types of the signed-note specification."""

MAX_NOTE: Final = 1_000_000
MAX_SIGNATURES: Final = 100
"""The specification demands at least 16; more than this is an attack, not a quorum."""

PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"

_DASH: Final = "\N{EM DASH} "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line: who claims to have signed, with which key, and the signature.

    Attributes:
        name: Key name, for a log's own key the log's origin.
        key_id: Four bytes that tell keys of one name apart; not a fingerprint to trust.
        signature: As the key's signature type defines it.
    """

    name: str
    key_id: bytes
    signature: bytes


class Note(msgspec.Struct, frozen=True):
    """A parsed, *unverified* note: its text, final newline included, and its signatures."""

    text: str
    signatures: tuple[NoteSignature, ...]


class NoteKey(msgspec.Struct, frozen=True):
    """A public key that may sign notes.

    Attributes:
        name: Key name; no spaces, no ``+``.
        kind: Signature type byte.
        key: 32 raw bytes for Ed25519, DER SubjectPublicKeyInfo for ECDSA.
    """

    name: str
    kind: int
    key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand in signature lines."""
        if self.kind == ECDSA:  # by the specification, the name is not part of it here
            return hashlib.sha256(self.key).digest()[:4]
        body = self.name.encode() + b"\n" + bytes([self.kind]) + self.key
        return hashlib.sha256(body).digest()[:4]

    def __str__(self) -> str:
        packed = base64.b64encode(bytes([self.kind]) + self.key).decode()
        return f"{self.name}+{self.key_id.hex()}+{packed}"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a log says of itself at one size.

    Attributes:
        origin: Name of the log, unique among logs.
        size: Number of entries.
        root: Root hash over them, 32 bytes.
        extensions: Further lines, opaque; we write none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text, to be signed as it is."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode()]
        return "".join(line + "\n" for line in (*lines, *self.extensions))


class LogProof(msgspec.Struct, frozen=True, kw_only=True):
    """A ``.tlog-proof`` file: that one entry is in a log, checkable offline.

    Attributes:
        index: Position of the entry, from 0.
        path: Inclusion proof, the leaf's sibling first.
        checkpoint: The signed checkpoint, verbatim.
        extra: Opaque bytes nothing vouches for, or None.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None


def parse_note(data: bytes) -> Note:
    """Split a note into text and signatures. Verifies nothing.

    Raises:
        MalformedError: Too large, not UTF-8, control characters, no empty line before
            the signatures, or a line below it that is not a signature.
    """
    if len(data) > MAX_NOTE:
        raise MalformedError(f"the note is too large: {len(data)} bytes")
    whole = _text(data, "note")
    body, gap, tail = whole.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise MalformedError("the note has no signatures after an empty line")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedError(f"the note has more than {MAX_SIGNATURES} signatures")
    return Note(body + "\n", tuple(_signature(line) for line in lines))


def format_note(text: str, signatures: Iterable[NoteSignature]) -> bytes:
    """The bytes of a note.

    Raises:
        MalformedError: The text does not end in a newline or has control characters, a
            key name is not allowed, or there is no signature.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise MalformedError("a note's text ends in a newline and has no control characters")
    lines = [format_signature(item) for item in signatures]
    if not lines:
        raise MalformedError("a note needs at least one signature")
    return (text + "\n" + "".join(lines)).encode()


def format_signature(item: NoteSignature) -> str:
    """One signature line, newline included: what a witness sends back.

    Raises:
        MalformedError: The key name is not allowed or the key id is not four bytes.
    """
    _check_name(item.name)
    if len(item.key_id) != 4:
        raise MalformedError("a note's key id is four bytes")
    packed = base64.b64encode(item.key_id + item.signature).decode()
    return f"{_DASH}{item.name} {packed}\n"


def verify_note(
    data: bytes, keys: Iterable[NoteKey], check: Callable[[NoteKey, bytes, bytes], bool]
) -> tuple[str, list[NoteKey]]:
    """Verify a note and only then hand out its text.

    Signatures by unknown keys are ignored; one by a known key that is wrong
    rejects the whole note.

    Args:
        data: The note.
        keys: The keys that count here.
        check: ``check(key, text, signature)`` says whether a signature is right.

    Returns:
        The text, and the distinct keys that signed it, in the order of the note.

    Raises:
        MalformedError: Not a note.
        SignatureError: A known key's signature is wrong.
        UntrustedError: No known key signed it.
    """
    note = parse_note(data)
    known = {(key.name, key.key_id): key for key in keys}
    message = note.text.encode()
    found: list[NoteKey] = []
    for item in note.signatures:
        key = known.get((item.name, item.key_id))
        if key is None:
            continue
        if not check(key, message, item.signature):
            raise SignatureError(f"the signature of {item.name!r} on the note is wrong")
        if key not in found:
            found.append(key)
    if not found:
        raise UntrustedError(
            "no trusted key signed the note",
            why="it is signed as " + ", ".join(item.name for item in note.signatures),
            hint="only if that key should count: add its .pub file under [[trust]]",
            facts={"signedBy": [f"{item.name}+{item.key_id.hex()}" for item in note.signatures]},
        )
    return note.text, found


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse the text of a checkpoint, which must have been verified as a note before.

    Raises:
        MalformedError: Fewer than three lines, an empty line, a size with leading
            zeros, or a root that is not 32 bytes.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise MalformedError("a checkpoint has origin, size and root, each on its line")
    origin, size, root, *extensions = lines
    return Checkpoint(
        origin=origin,
        size=_decimal(size, "size"),
        root=_hash(root),
        extensions=tuple(extensions),
    )


def format_proof(proof: LogProof) -> bytes:
    """The bytes of a ``.tlog-proof`` file."""
    lines = [PROOF_HEADER]
    if proof.extra is not None:
        lines.append("extra " + base64.b64encode(proof.extra).decode())
    lines.append(f"index {proof.index}")
    lines.extend(base64.b64encode(item).decode() for item in proof.path)
    return ("\n".join(lines) + "\n\n").encode() + proof.checkpoint


def parse_proof(data: bytes) -> LogProof:
    """Parse a ``.tlog-proof`` file. Neither proof nor checkpoint is verified.

    Raises:
        MalformedError: Not of that form.
    """
    if len(data) > MAX_NOTE:
        raise MalformedError(f"the proof is too large: {len(data)} bytes")
    whole = _text(data, "proof")
    head, gap, checkpoint = whole.partition("\n\n")
    lines = head.split("\n")
    if not gap or lines.pop(0) != PROOF_HEADER:
        raise MalformedError(f"not a log proof: it begins with {whole[:40]!r}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _base64(lines.pop(0).removeprefix("extra "), "extra data")
    if not lines or not lines[0].startswith("index "):
        raise MalformedError("the log proof has no index line")
    index = _decimal(lines.pop(0).removeprefix("index "), "index")
    if len(lines) > 64:
        raise MalformedError("the log proof has more than 64 hashes")
    path = tuple(_hash(line) for line in lines)
    return LogProof(index=index, path=path, checkpoint=checkpoint.encode(), extra=extra)


def _signature(line: str) -> NoteSignature:
    name, space, packed = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise MalformedError(f"not a signature line of a note: {line[:80]!r}")
    _check_name(name)
    data = _base64(packed, "signature")
    if len(data) < 5:
        raise MalformedError("a note's signature is shorter than its key id")
    return NoteSignature(name, data[:4], data[4:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name) or _CONTROL.search(name):
        raise MalformedError(f"not a name for a note key: {name[:80]!r}")


def _text(data: bytes, what: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"the {what} is not UTF-8") from error
    if _CONTROL.search(text):
        raise MalformedError(f"the {what} has a control character")
    return text


def _decimal(text: str, what: str) -> int:
    if not _DECIMAL.match(text):
        raise MalformedError(f"not a decimal {what}: {text[:40]!r}")
    return int(text)


def _hash(text: str) -> bytes:
    data = _base64(text, "hash")
    if len(data) != 32:
        raise MalformedError(f"a hash of the log has {len(data)} bytes, expected 32")
    return data


def _base64(text: str, what: str) -> bytes:
    """Standard base64 with padding, one spelling only (set pad bits are refused)."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"the {what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise MalformedError(f"the {what} is not base64 in its one spelling")
    return data
