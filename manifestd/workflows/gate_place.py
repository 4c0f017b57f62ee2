"""What is to pass a gate: a stored snapshot, or a place that is looked at now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from manifestd.config import Config
from manifestd.errors import NotVerifiedError, UndecidedError
from manifestd.model.digest import parse_digest
from manifestd.model.reference import parse_reference
from manifestd.model.snapshot import ReadMode
from manifestd.model.tag import check_tag
from manifestd.signing.base import Signer
from manifestd.store import Store
from manifestd.workflows.gate import Candidate
from manifestd.workflows.opened import named_file, resolved
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.taking import ProgressFor

_DATED: Final = re.compile(r"(?s).+@\{[^{}]*\}\Z")


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How a place is looked at.

    Attributes:
        config: Its defaults hold.
        tool: Name and version of what takes the snapshot.
        signer: Signs the snapshot; None: it stays unsigned.
        own_outputs: Absolute paths that manifestd itself writes.
        read: Which bytes; None: as configured.
        progress: Who is told how far it is.
    """

    config: Config
    tool: str
    signer: Signer | None = None
    own_outputs: tuple[str, ...] = ()
    read: ReadMode | None = None
    progress: ProgressFor | None = None


def is_place(text: str) -> bool:
    """Whether a reference means a place to look at now, and not something in the store.

    A place has a scheme, looks like a path, or is a directory that exists. ``REF@{DATE}`` is
    of the past and always in the store; a file may have been a bundle, and is no place.
    """
    if _DATED.match(text):
        return False
    try:
        if "\0" not in text and Path(text).is_dir():
            return True
    except OSError:
        return False
    looks = text.startswith(("/", "./", "../")) or text in {".", ".."}
    return "://" in text or (looks and named_file(text) is None)


def stored_candidate(store: Store, reference: str) -> Candidate:
    """A stored snapshot as a candidate; for a place, its latest one.

    Raises:
        UsageError, AmbiguousError: Not a reference, or of several snapshots.
        NotStoredError: There is none.
        TamperedError: The store is damaged.
        MalformedError: None, and it is a file that may have been a bundle.
    """
    digest = resolved(store, reference)
    return Candidate(reference=reference, snapshot=digest, record=store.snapshots.load(digest))


def take_candidate(store: Store, look: Look, tag: str, place: str) -> Candidate:
    """Look at a place now: take a snapshot of it into the store.

    Files that the snapshot which the tag names leaves out are left out here too, so that both
    speak of the same files. What goes wrong at the place is kept in the candidate.

    Args:
        store: Opened for writing.
        look: How.
        tag: ``NAME:TAG`` of the gate.
        place: A source reference.

    Raises:
        UsageError: Not a tag or not a place.
        ConfigError: A setting is not usable.
    """
    from manifestd.workflows.snapshot import take_snapshot

    released = store.tags.target(check_tag(tag))
    ignore = tuple(look.config.defaults.ignore)
    if released is not None:
        ignore = tuple(store.snapshots.load(released.snapshot).selection.ignore)
    request = SnapshotRequest(
        reference=parse_reference(place),
        read=look.read or look.config.defaults.read,
        ignore=ignore,
        own_outputs=look.own_outputs,
    )
    try:
        taken = take_snapshot(
            request, store=store, tool=look.tool, signer=look.signer, progress=look.progress
        )
    except (UndecidedError, NotVerifiedError) as error:
        return Candidate(reference=place, fresh=True, error=error)
    return Candidate(
        reference=place,
        snapshot=parse_digest(taken.result.snapshot),
        record=taken.record,
        fresh=True,
        contradicted=taken.exit_code == NotVerifiedError.exit_code,
    )
