"""From what a user types to one stored snapshot (contract, section 2)."""

from __future__ import annotations

import difflib
import re
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manifestd.errors import AmbiguousError, NotStoredError, TamperedError, UsageError
from manifestd.model.digest import Digest, hex_of
from manifestd.model.moment import parse_moment
from manifestd.model.reference import (
    DirectoryReference,
    HubReference,
    OciReference,
    Reference,
    parse_directory,
    parse_reference,
)
from manifestd.model.tag import split_tag
from manifestd.store.rows import Row, microseconds, was_called

if TYPE_CHECKING:
    from manifestd.store.snapshots import Snapshots

_AT: Final = re.compile(r"(?s)(.+)@\{([^{}]*)\}\Z")
_PREFIX: Final = re.compile(r"(sha256:)?([0-9a-f]{8,64})\Z")
_SHOWN: Final = 10
_IMPORTED: Final = "import://"
"""Not a place that could be read: the documents that `import` made records of."""


def resolve(snapshots: Snapshots, text: str) -> Digest:
    """The snapshot that ``text`` means; see :meth:`Snapshots.resolve`."""
    if not text or not _is_unicode(text):
        raise UsageError(f"not a reference: {text!r}")
    body, until = text, {}
    if at := _AT.match(text):
        last = parse_moment(at[2]).astimezone(UTC).isoformat()
        body, until = at[1], {"captured <= ?": microseconds(last)}
    found: dict[str, Row] = {}
    for row in [
        *_by_tag(snapshots, body, until.get("captured <= ?")),
        *_by_digest(snapshots, body, until),
        *_by_name(snapshots, body, until),
        *_by_place(snapshots, body, until),
    ]:
        found[row.digest] = row
    if len(found) == 1:
        return Digest(next(iter(found)))
    if found:
        raise _ambiguous(text, list(found.values()))
    raise _nothing(snapshots, text, body)


def _by_digest(snapshots: Snapshots, text: str, until: dict[str, Any]) -> list[Row]:
    """Snapshots by their own digest, and the latest of each manifest, of this prefix."""
    match = _PREFIX.match(text)
    if match is None:
        if text.startswith("sha256:"):
            raise UsageError(
                f"not a digest or prefix of one: {text[:80]!r}",
                hint="give at least 8 of its 64 lower-case hex digits",
            )
        return []
    digits = match[2]
    low, high = bytes.fromhex(digits.ljust(64, "0")), bytes.fromhex(digits.ljust(64, "f"))
    bounds = {"{} >= ?": low, "{} <= ?": high}
    rows = snapshots.select({sql.format("digest"): v for sql, v in bounds.items()} | until)
    latest: dict[str | None, Row] = {}
    for row in snapshots.select({sql.format("manifest"): v for sql, v in bounds.items()} | until):
        latest.setdefault(row.manifest, row)
    return [*rows, *latest.values()]


def _by_tag(snapshots: Snapshots, text: str, until: int | None) -> list[Row]:
    """What a tag names now, or named at that time by the order and times of the log."""
    if split_tag(text) is None:
        return []
    target = snapshots.tags.target(text, until)
    if target is None:
        return []
    found = snapshots.select({"digest = ?": bytes.fromhex(hex_of(target.snapshot))})
    if not found or found[0].manifest != target.manifest:
        raise TamperedError(
            f"{text} names the snapshot {target.snapshot}, which the store does not have",
            hint="run `manifestd store check`",
        )
    return found


def _by_name(snapshots: Snapshots, text: str, until: dict[str, Any]) -> list[Row]:
    # NAME:TAG is what somebody signed; whoever names a snapshot so must not stand in for that.
    if split_tag(text) is not None:
        return []
    return snapshots.select({"name = ?": text} | until, limit=1)


def _by_place(snapshots: Snapshots, text: str, until: dict[str, Any]) -> list[Row]:
    if text.startswith(_IMPORTED):
        return snapshots.select({"source = ?": text} | until, limit=1)
    reference = _reference(text)
    if reference is None:
        return []
    conditions: dict[str, Any] = {"source = ?": reference.place()}
    revision = _revision(reference)
    if revision is not None:
        conditions["? IN (requested, revision)"] = revision
    return snapshots.select(conditions | until, limit=1)


def _reference(text: str) -> Reference | None:
    """The place that ``text`` names: by its scheme, by looking like a path, or by existing."""
    if text.startswith(_IMPORTED):
        return None
    if "://" in text:
        return parse_reference(text)
    looks = text.startswith(("/", "./", "../")) or text in {".", ".."}
    if looks or ("\0" not in text and _is_directory(text)):
        return parse_directory(text)
    return None


def _is_unicode(text: str) -> bool:
    """Arguments that are not UTF-8 reach Python as lone surrogates."""
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def _is_directory(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except OSError:
        return False


def _revision(reference: Reference) -> str | None:
    if isinstance(reference, HubReference):
        return reference.revision
    if isinstance(reference, OciReference):
        return reference.digest or reference.tag
    return None


def _ambiguous(text: str, rows: list[Row]) -> AmbiguousError:
    shown = [f"{row.digest[:19]}… {row.source} {row.captured_at}" for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        shown.append(f"{len(rows) - _SHOWN} more")
    return AmbiguousError(
        f"{text!r} means {len(rows)} snapshots",
        why="; ".join(shown),
        hint="give more digits of the digest, or the whole source reference",
        facts={"candidates": [row.digest for row in rows]},
    )


def _name_now(snapshots: Snapshots, reference: HubReference) -> str | None:
    """The place of a Hub repository that was snapshotted by its old name."""
    for place in snapshots.names():
        found = snapshots.latest(place) if place.startswith("hf://") else None
        if found is not None and was_called(found[1], reference):
            return place
    return None


def _nothing(snapshots: Snapshots, text: str, body: str) -> NotStoredError:
    if split_tag(body) is not None and snapshots.tags.last_move(body) is not None:
        at = f"named nothing at {text[len(body) + 2 : -1]}"
        return NotStoredError(
            f"{body} {at if text != body else 'names nothing now, it was deleted'}",
            hint=f"`manifestd tag --history {body}` shows what it named when",
        )
    reference = _reference(body)
    wanted = reference.place() if reference is not None else body
    known = snapshots.names()
    if wanted in known and reference is None and split_tag(body) is not None:
        hint = (
            f"a snapshot is filed under this name, which is no tag: `manifestd list --name {body}`"
        )
    elif wanted in known:
        hint = (
            f"there are snapshots of {wanted}, none of that time or revision: see `manifestd list`"
        )
    elif isinstance(reference, HubReference) and (now := _name_now(snapshots, reference)):
        hint = f"it has another name by now: write {now}"
    elif near := difflib.get_close_matches(wanted, known, n=1):
        hint = f"the store has {near[0]}"
    elif isinstance(reference, DirectoryReference):
        hint = f"take one: `manifestd snapshot dir {body}`"
    else:
        hint = "run `manifestd list` to see what there is; a directory is written ./NAME"
    return NotStoredError(f"nothing in the store is called {text!r}", hint=hint)
