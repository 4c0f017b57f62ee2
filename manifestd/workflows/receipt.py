"""Receipts: written when a gate is open, checked when a server starts, without hashing again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Final

from manifestd.errors import UndecidedError, UsageError
from manifestd.model.digest import of_bytes, of_hex
from manifestd.model.entry import Entry, Problem
from manifestd.model.gate import GateReport
from manifestd.model.logentry import LogEntry, time_text
from manifestd.model.receipt import (
    Known,
    Receipt,
    ReceiptCheck,
    known_line,
    read_receipt_statement,
    receipt_statement,
)
from manifestd.model.reference import HubReference, parse_reference
from manifestd.model.snapshot import Snapshot, moment_of
from manifestd.rules.globs import matches_any
from manifestd.signing.dsse import sign_statement, verify_bundle
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.store.rows import payload_of
from manifestd.workflows.approval_log import CLOCK_SKEW
from manifestd.workflows.desk import Desk
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.taking import open_source

VALID_FOR: Final = timedelta(hours=24)
"""How long a receipt counts when nobody says otherwise."""

MAX_VALID: Final = timedelta(days=31)

_MAX_KNOWN: Final = 256 * 1024
"""Bytes of the list of files in a receipt; of more only the fingerprint is kept."""

_SHOWN: Final = 20


def write_receipt(
    store: Store, desk: Desk, report: GateReport, *, valid_for: timedelta = VALID_FOR
) -> bytes:
    """Sign a receipt for a gate that is open; returns the bundle.

    Args:
        store: Has the snapshot that passed.
        desk: Where it is done; has the key of the machine that ran the gate.
        report: What the gate answered.
        valid_for: How long the receipt counts.

    Raises:
        UsageError: The gate is not open, no key is configured, or the time is too long.
        UntrustedError: The key may not issue receipts.
        UndecidedError: The place gives nothing by which a file would be known again.
    """
    if not (report.open and report.snapshot and report.manifest and report.policy):
        raise UsageError("a receipt is written for an open gate only")
    if not timedelta(0) < valid_for <= MAX_VALID:
        raise UsageError(f"a receipt can count for up to {MAX_VALID.days} days")
    hand = desk.authority("a receipt", "gate")
    record = store.snapshots.load(report.snapshot)
    fingerprint, known = _fingerprint(store, record)
    receipt = Receipt(
        tag=report.tag,
        place=_place(record),
        snapshot=report.snapshot,
        manifest=report.manifest,
        policy=report.policy,
        at=time_text(desk.now),
        expires=time_text(desk.now + valid_for),
        ignore=list(record.selection.ignore),
        files=record.files,
        fingerprint=fingerprint,
        known=known,
        by=hand.person,
        key_id=hand.key_id,
        inputs=_inputs(store, report),
        tool=desk.tool,
    )
    return sign_statement(receipt_statement(receipt), hand.signer)


def log_receipt(store: Store, desk: Desk, bundle: bytes, report: GateReport) -> LogEntry:
    """Keep a receipt in the store and log it as a verdict, so that what passed can be asked."""
    receipt = read_receipt_statement(payload_of(bundle))
    document = of_bytes(bundle)
    with store.transaction():
        store.blobs.put_as(bundle, "statement")
        return store.log.append(
            "verdict",
            document,
            desk.now,
            {
                "tag": report.tag,
                "snapshot": report.snapshot,
                "manifest": report.manifest,
                "by": receipt.by,
                "verdict": "gate open",
            },
        )


def check_receipt(
    data: bytes,
    trust: Trust,
    now: datetime,
    *,
    place: str | None = None,
    own_outputs: tuple[str, ...] = (),
) -> ReceiptCheck:
    """Check a receipt, and that nothing was written at the place since. Reads no content.

    Args:
        data: The bundle.
        trust: The keys that count.
        now: The time.
        place: Where the files are; None: where the receipt says. A directory may have moved,
            with its inodes; any other place must be the receipt's.
        own_outputs: Absolute paths of our own files there, the receipt's among them.

    Raises:
        MalformedError, NotCanonicalError, SignatureError: Not a right receipt.
        UntrustedError: Its key may not issue receipts now.
        UsageError: A receipt for another place.
        UndecidedError: The place cannot be listed.
    """
    verified = verify_bundle(data, trust.public_keys())
    receipt = read_receipt_statement(verified.payload)
    person = trust.require(verified.key, "gate", now).person
    problems: list[Problem] = []
    request = SnapshotRequest(
        reference=parse_reference(place or receipt.place), own_outputs=own_outputs
    )
    where = str(request.reference)
    schemes = {request.reference.scheme, parse_reference(receipt.place).scheme}
    if where != receipt.place and schemes != {"file"}:
        raise UsageError(
            f"the receipt is for {receipt.place}, not for {where}",
            hint=f"run `manifestd gate {receipt.tag} {where} --receipt FILE`",
        )
    files = 0
    problems = _time_problems(receipt, where, now)
    if not problems:
        found = sorted(_listed(request, receipt.ignore), key=lambda pair: pair[0])
        files = len(found)
        problems = _changes(receipt, where, found)
    return ReceiptCheck(
        verified=not problems,
        tag=receipt.tag,
        place=where,
        snapshot=receipt.snapshot,
        manifest=receipt.manifest,
        by=person,
        at=receipt.at,
        expires=receipt.expires,
        files=files,
        problems=problems,
    )


def _fingerprint(store: Store, record: Snapshot) -> tuple[str, list[Known]]:
    """What tells these files from all later states of them; and the files, if they are few."""
    hasher = hashlib.sha256()
    known: list[Known] = []
    size = 0
    for file in store.trees.files(record):
        if not file.seen.identity:
            raise UndecidedError(
                f"{record.source} gives nothing by which {file.path!r} would be known again",
                hint="without a receipt, run the gate again at every start",
            )
        line = known_line(file.path, file.size, file.seen.identity)
        hasher.update(line)
        size += len(line)
        if size <= _MAX_KNOWN:
            known.append(Known(path=file.path, size=file.size, identity=file.seen.identity))
    return of_hex(hasher.hexdigest()), known if size <= _MAX_KNOWN else []


def _place(record: Snapshot) -> str:
    """What to list to see the same files: the place, at its revision where it has one."""
    reference = parse_reference(record.source)
    if isinstance(reference, HubReference) and record.revision:
        return f"{record.source}@{record.revision}"
    return str(reference)


def _inputs(store: Store, report: GateReport) -> list[str]:
    assert report.snapshot is not None
    about = [report.snapshot, *([report.released.snapshot] if report.released else [])]
    found: list[str] = [
        of_bytes(bundle)
        for snapshot in dict.fromkeys(about)
        for bundle in store.snapshots.bundles(snapshot)
    ]
    move = store.tags.last_move(report.tag)
    if move is not None:
        found.append(move.entry.document)
    if report.approvals is not None:
        found += [item.approval for item in report.approvals.approvals if item.counts]
    return found


def _time_problems(receipt: Receipt, where: str, now: datetime) -> list[Problem]:
    at, expires = moment_of(receipt.at), moment_of(receipt.expires)
    hint = f"verify fully: manifestd gate {receipt.tag} {where}"
    if now > expires:
        what = f"the receipt expired at {receipt.expires[:19]}Z"
        return [Problem(code="receipt-expired", what=what, hint=hint)]
    if at > now + CLOCK_SKEW or expires > at + MAX_VALID:
        what = (
            f"the receipt is of the future, or counts too long: {receipt.at} to {receipt.expires}"
        )
        return [Problem(code="receipt-expired", what=what, hint=hint)]
    return []


def _listed(request: SnapshotRequest, ignore: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Path and line of each file there now; of what cannot be told, a line that fits nothing."""
    with closing(open_source(request)) as source:
        resolved = source.resolve()
        for item in source.list(resolved):
            if isinstance(item, Entry):
                if not (ignore and matches_any(item.path, ignore)):
                    line = known_line(item.path, item.size, item.identity)
                    yield item.path.encode(), b"" if item.problem else line
            elif item.severity != "note":
                yield (item.path or "").encode(), b""


def _changes(receipt: Receipt, where: str, found: list[tuple[bytes, bytes]]) -> list[Problem]:
    """What is not as it was: nothing where the fingerprint is the same."""
    hasher = hashlib.sha256()
    for _, line in found:
        hasher.update(line)
    whole = of_hex(hasher.hexdigest()) == receipt.fingerprint
    if whole and len(found) == receipt.files and all(line for _, line in found):
        return []
    hint = f"verify fully: manifestd gate {receipt.tag} {where}"
    changed = "changed-since-receipt"
    if not receipt.known:
        what = f"files were written, added or removed since the receipt ({len(found)} now)"
        return [Problem(code=changed, what=what, hint=hint)]
    before = {
        item.path.encode(): known_line(item.path, item.size, item.identity)
        for item in receipt.known
    }
    now = dict(found)
    paths = [
        path for path in sorted(before.keys() | now.keys()) if before.get(path) != now.get(path)
    ]
    problems = [
        Problem(
            path=path.decode("utf-8", "replace"),
            code=changed,
            what="is gone"
            if path not in now
            else "is new"
            if path not in before
            else "was written",
            hint=hint,
        )
        for path in paths[:_SHOWN]
    ]
    if len(paths) > _SHOWN:
        problems.append(Problem(code=changed, what=f"{len(paths) - _SHOWN} more", hint=hint))
    return problems or [Problem(code=changed, what="a path is there twice", hint=hint)]
