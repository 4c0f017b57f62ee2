"""Checkpoints and proofs: what leaves the machine, so that tampering with the store shows.

A checkpoint is a few lines of text: the log's name, size and root, signed.
Whoever keeps one can prove later that everything before it is still there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

import msgspec

from manifestd.config import Config
from manifestd.errors import (
    MalformedError,
    TamperedError,
    UsageError,
)
from manifestd.model.digest import of_hex
from manifestd.model.history import CheckpointSeen
from manifestd.model.note import MAX_NOTE, Checkpoint
from manifestd.rules import merkle
from manifestd.signing.base import Signer
from manifestd.signing.notes import (
    OpenedCheckpoint,
    add_signature,
    open_checkpoint,
    sign_checkpoint,
)
from manifestd.signing.public import read_public_key
from manifestd.signing.trust import Trust
from manifestd.store import Store

_OLD: Final = b"old "


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that somebody is to co-sign, as C2SP's tlog-witness sends it.

    Attributes:
        note: The signed checkpoint.
        old: Size of the checkpoint the proof begins at; None: there is no proof.
        proof: Consistency proof from there.
    """

    note: bytes
    old: int | None = None
    proof: tuple[bytes, ...] = ()


def origin_of(config: Config, signer: Signer) -> str:
    """The log's name in checkpoints: the configured one, else that of the key."""
    return config.log.origin or name_of(signer)


def name_of(signer: Signer) -> str:
    """The name of a key in notes: ``manifestd/<key id>``, shortened to 16 digits."""
    return f"manifestd/{read_public_key(signer.public_pem()).key_id[:16]}"


def make_checkpoint(
    store: Store, config: Config, signer: Signer, *, since: OpenedCheckpoint | None = None
) -> bytes:
    """Sign what the log is now.

    Args:
        store: Opened for reading.
        config: Its ``log.origin`` names the log.
        signer: The key.
        since: An earlier checkpoint; the result then carries the proof that the log
            continues it, for a witness that has no copy of the store.

    Raises:
        TamperedError: The log does not continue ``since``, or is damaged.
        UsageError: The key cannot sign checkpoints.
    """
    checkpoint = Checkpoint(
        origin=origin_of(config, signer), size=store.log.size, root=store.log.root()
    )
    note = sign_checkpoint(checkpoint, signer)
    if since is None:
        return note
    check_prefix(store, since.checkpoint)
    old = since.checkpoint.size
    proof = store.log.consistency_proof(old, checkpoint.size)
    return format_request(Request(note=note, old=old, proof=tuple(proof)))


def check_prefix(store: Store, checkpoint: Checkpoint) -> None:
    """Check that the log begins with what a checkpoint says, by the nodes it keeps.

    Raises:
        TamperedError: It is shorter, or begins with something else.
    """
    size = store.log.size
    if size < checkpoint.size:
        raise TamperedError(
            f"the log has {size} entries, the checkpoint counted {checkpoint.size}",
            why="entries were dropped, or an older copy of the store was put in its place",
            facts={"size": size, "checkpoint": checkpoint.size},
        )
    found = store.log.root(checkpoint.size)
    if found != checkpoint.root:
        raise TamperedError(
            f"the first {checkpoint.size} entries of the log are not those of the checkpoint",
            why="an entry was changed, moved, removed or put in",
            facts={"checkpoint": checkpoint.root.hex(), "found": found.hex()},
        )


def cosign(
    request: Request,
    trust: Trust,
    signer: Signer,
    *,
    store: Callable[[], Store] | None = None,
    earlier: bytes | None = None,
    first: bool = False,
    named: bool = True,
) -> bytes:
    """Add this machine's signature to somebody's checkpoint, after checking it.

    Args:
        request: The checkpoint, perhaps with a proof since an earlier one.
        trust: The keys that count; one of them must have signed it.
        signer: This machine's key.
        store: Opens a copy of the store.
        earlier: The last checkpoint of this log that this machine has seen.
        first: There is none, and this one is taken as the beginning.
        named: The store was named as a copy of this log; else it may be of another one.

    Raises:
        TamperedError: The checkpoint does not continue what this machine knows.
        UntrustedError, SignatureError: It, or the earlier one, is not signed by who may.
        UsageError: There is nothing to check it against.
    """
    opened = open_checkpoint(request.note, trust.public_keys())
    new = opened.checkpoint
    if earlier is not None:
        known = _earlier(earlier, trust, new)
        if store is not None and not named and not _holds(store, known):
            store = None
        _check_continues(request, new, known, store)
    elif first:
        pass
    elif store is not None:
        with store() as opened_store:
            try:
                check_prefix(opened_store, new)
            except TamperedError as error:
                error.hint = None if named else "name a copy of that log's store: --store COPY"
                raise
    else:
        raise UsageError(
            "there is nothing to check this checkpoint against",
            why="a second signature says that the log continues what the signer knew",
            hint="give --earlier FILE, or --store COPY, or --first if this is the first one",
        )
    return add_signature(request.note, signer, name_of(signer))


def _earlier(note: bytes, trust: Trust, new: Checkpoint) -> Checkpoint:
    earlier = open_checkpoint(parse_request(note).note, trust.public_keys()).checkpoint
    if earlier.origin != new.origin:
        raise UsageError(
            f"the earlier checkpoint is of another log: {earlier.origin}, not {new.origin}"
        )
    return earlier


def _holds(store: Callable[[], Store], known: Checkpoint) -> bool:
    """Whether a store is a copy of the log at all."""
    with store() as opened:
        try:
            check_prefix(opened, known)
        except TamperedError:
            return False
    return True


def _check_continues(
    request: Request, new: Checkpoint, earlier: Checkpoint, store: Callable[[], Store] | None
) -> None:
    if request.old == earlier.size or earlier.size >= new.size:
        proof = request.proof if request.old == earlier.size else ()
        merkle.verify_consistency(earlier.size, new.size, proof, earlier.root, new.root)
    elif store is not None:
        with store() as opened:
            check_prefix(opened, earlier)
            check_prefix(opened, new)
    else:
        raise UsageError(
            f"there is no proof that this checkpoint continues the one of {earlier.size} entries",
            hint="ask for `manifestd log checkpoint --since FILE -o FILE`, FILE being that one",
        )


def seen_checkpoint(opened: OpenedCheckpoint, trust: Trust) -> CheckpointSeen:
    """A verified checkpoint as it is shown."""
    names = [trust.person(key) or key.key_id for key in opened.keys]
    return CheckpointSeen(
        origin=opened.checkpoint.origin,
        size=opened.checkpoint.size,
        root=of_hex(opened.checkpoint.root.hex()),
        signed_by=list(dict.fromkeys(names)),
    )


def format_request(request: Request) -> bytes:
    """A checkpoint with a consistency proof before it (c2sp.org/tlog-witness, add-checkpoint)."""
    lines = [_OLD + str(request.old).encode()]
    lines += [base64.b64encode(item) for item in request.proof]
    return b"\n".join(lines) + b"\n\n" + request.note


def parse_request(data: bytes) -> Request:
    """A checkpoint, alone or with a consistency proof before it. Verifies nothing.

    Raises:
        MalformedError: It begins like a proof and is none.
    """
    if not data.startswith(_OLD) or b"\n\n" not in data[:MAX_NOTE]:
        return Request(note=data)
    head, _, note = data.partition(b"\n\n")
    first, *hashes = head.removeprefix(_OLD).split(b"\n")
    try:
        proof = tuple(base64.b64decode(item, validate=True) for item in hashes)
    except binascii.Error as error:
        raise MalformedError("a line of the consistency proof is not base64") from error
    if not first.isdigit() or len(first) > 18 or len(proof) > 63:
        raise MalformedError("not a checkpoint with a consistency proof")
    return Request(note=note, old=int(first), proof=proof)
