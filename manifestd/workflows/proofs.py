"""Holding the log against a checkpoint; proving one entry; checking such a proof with no store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from manifestd.config import Config
from manifestd.errors import (
    MalformedError,
    ManifestdError,
    NotVerifiedError,
    TamperedError,
    UndecidedError,
    UsageError,
)
from manifestd.model.digest import of_hex
from manifestd.model.entry import Problem
from manifestd.model.history import LogVerification
from manifestd.model.logentry import LogEntry, decode_entry
from manifestd.model.note import Checkpoint, LogProof, format_proof, parse_proof
from manifestd.model.tag import split_tag
from manifestd.rules import merkle
from manifestd.signing.base import Action, Signer
from manifestd.signing.notes import open_checkpoint
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.check import check_store
from manifestd.workflows.checkpoints import (
    check_prefix,
    make_checkpoint,
    parse_request,
    seen_checkpoint,
)
from manifestd.workflows.sign import judge_statement

_SKEW: Final = timedelta(hours=1)
"""How much a clock may be set back without a word."""

_SIGNED_FOR: Final[dict[str, Action]] = {
    "tag": "tag",
    "deletion": "tag",
    "approval": "approve",
    "revocation": "approve",
}
"""Kind of entry -> what its signer's key must count for."""


def verify_log(
    store: Store, trust: Trust, *, checkpoint: bytes | None = None, log_only: bool = False
) -> LogVerification:
    """Check the log from its leaves up, against a checkpoint that was kept elsewhere.

    Args:
        store: Opened for reading.
        trust: The keys that count.
        checkpoint: The checkpoint; None: only whether the store agrees with itself.
        log_only: Leave out the file lists and all else that ``store check`` reads.

    Raises:
        UntrustedError, SignatureError, MalformedError: The checkpoint itself does not verify.
    """
    seen = (
        None
        if checkpoint is None
        else open_checkpoint(parse_request(checkpoint).note, trust.public_keys())
    )
    problems: list[Problem] = []
    root: str | None = None
    steps: list[Callable[[], None]] = []
    if seen is not None:
        steps.append(lambda: _check_leaves(store, seen.checkpoint))
    steps.append(lambda: _check_statements(store, trust, problems))
    for step in steps:
        try:
            step()
        except (NotVerifiedError, UndecidedError) as error:
            problems.append(_problem(error))
    try:
        root = of_hex(store.log.root().hex())
    except ManifestdError as error:
        problems.append(_problem(error))
    known = {problem.what for problem in problems}
    problems += [
        problem
        for problem in check_store(store.path, log_only=log_only)
        if problem.what not in known
    ]
    return LogVerification(
        verified=all(problem.severity == "note" for problem in problems),
        size=store.log.size,
        root=root,
        checkpoint=seen_checkpoint(seen, trust) if seen else None,
        entry=None,
        problems=problems,
    )


def _problem(error: ManifestdError) -> Problem:
    return Problem(code=error.code, what=error.told(), hint=error.hint)


def _turned_back(before: LogEntry, entry: LogEntry) -> Problem:
    return Problem(
        code="clock-turned-back",
        what=f"entry {entry.index} is dated {entry.at}, the one before it {before.at}",
        hint="keys are judged as of these times: was the clock wrong, or an old key used again?",
        severity="note",
    )


def _check_leaves(store: Store, checkpoint: Checkpoint) -> None:
    """The checkpoint's root from the entries' own bytes, not from kept nodes."""
    if store.log.size < checkpoint.size:
        check_prefix(store, checkpoint)
    root = merkle.root_of(map(merkle.leaf_hash, store.log.leaves(checkpoint.size)))
    if root != checkpoint.root:
        raise TamperedError(
            f"the first {checkpoint.size} entries of the log are not those of the checkpoint",
            why="an entry was changed, moved, removed or put in",
            facts={"checkpoint": checkpoint.root.hex(), "found": root.hex()},
        )


def _check_statements(store: Store, trust: Trust, problems: list[Problem]) -> None:
    """Every move, tombstone and approval is signed by who might do that when it was logged.

    Who revokes need not be allowed to approve any more, so of a revocation it is asked only
    that somebody known signed it.
    """
    before: LogEntry | None = None
    for entry in store.log.entries():
        if before is not None and entry.moment() < before.moment() - _SKEW:
            problems.append(_turned_back(before, entry))
        before = entry
        action = _SIGNED_FOR.get(entry.kind)
        if action is None:
            continue
        check = judge_statement(store.blobs.get(entry.document), trust, action, entry.moment())
        known = entry.kind == "revocation" and check.state == "untrusted" and check.person
        if check.state != "verified" and not known:
            problems.append(
                Problem(
                    code=check.code or "signature-invalid",
                    what=f"entry {entry.index} ({entry.kind}): {check.why}",
                    hint=check.hint,
                )
            )


def prove(
    store: Store, config: Config, signer: Signer | None, trust: Trust, *, index: int,
    checkpoint: bytes | None = None,
) -> bytes:  # fmt: skip
    """A proof file that an entry is in the log, checkable with no store (C2SP tlog-proof).

    Args:
        store: Opened for reading.
        config: Its ``log.origin`` names the log.
        signer: Signs a new checkpoint.
        trust: Checks the given one.
        index: The entry.
        checkpoint: Prove by this one (co-signed, say) instead of a new one.

    Raises:
        UsageError: No key and no checkpoint; or the checkpoint is older than the entry.
        NotStoredError: No such entry.
        TamperedError: The log is not the one of the checkpoint.
    """
    leaf = store.log.raw(index)
    if checkpoint is not None:
        note = parse_request(checkpoint).note
        seen = open_checkpoint(note, trust.public_keys()).checkpoint
        check_prefix(store, seen)
        size = seen.size
    elif signer is not None:
        note, size = make_checkpoint(store, config, signer), store.log.size
    else:
        raise UsageError(
            "a proof needs a signed checkpoint, and no key is configured",
            hint="give --checkpoint FILE, or a key",
        )
    if index >= size:
        raise UsageError(
            f"entry {index} is newer than the checkpoint, which covers {size} entries",
            hint="make a new one: manifestd log checkpoint -o FILE",
        )
    path = store.log.inclusion_proof(index, size)
    return format_proof(LogProof(index=index, path=tuple(path), checkpoint=note, extra=leaf))


def verify_proof(data: bytes, trust: Trust) -> LogVerification:
    """Check a proof file; no store is needed.

    Raises:
        MalformedError: Not a proof, or without its entry.
        UntrustedError, SignatureError: No trusted key signed its checkpoint.
        MismatchError: The entry is not in the log.
    """
    proof = parse_proof(data)
    opened = open_checkpoint(proof.checkpoint, trust.public_keys())
    if proof.extra is None:
        raise MalformedError("the proof does not carry the entry it is about")
    merkle.verify_inclusion(
        merkle.leaf_hash(proof.extra),
        proof.index,
        opened.checkpoint.size,
        proof.path,
        opened.checkpoint.root,
    )
    entry = decode_entry(proof.extra)
    if entry.index != proof.index:
        raise MalformedError(f"the entry says it is {entry.index}, the proof {proof.index}")
    return LogVerification(
        verified=True,
        size=None,
        root=None,
        checkpoint=seen_checkpoint(opened, trust),
        entry=entry,
        problems=[],
    )


def entry_for(store: Store, reference: str) -> LogEntry:
    """The entry that a reference is proved by.

    ``NAME:TAG`` is proved by its last move, a snapshot by the entry of its record.

    Raises:
        NotStoredError, AmbiguousError: The reference names nothing, or several.
        TamperedError: The snapshot is not in the log.
    """
    if split_tag(reference) is not None:
        move = store.tags.last_move(reference)
        if move is not None:
            return move.entry
    digest = store.snapshots.resolve(reference)
    for entry in store.log.entries(kinds=["snapshot"], document=digest, limit=1):
        return entry
    raise TamperedError(
        f"the snapshot {digest} is not in the history log", hint="run `manifestd store check`"
    )
