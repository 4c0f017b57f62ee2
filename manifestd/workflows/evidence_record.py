"""What somebody else wrote down about files, kept as a snapshot record that names its origin.

Lists of digests say nothing about sizes, and content identity needs them. Where the store holds
a file with the very sha256, its size is known; else the file is recorded without one, and the
record has no manifest (format v1, section 4.1).
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from manifestd import canonical
from manifestd.errors import EmptySourceError, MalformedError
from manifestd.model.digest import Digest, check_value, of_bytes
from manifestd.model.entry import UNKNOWN_SIZE, Observation, Problem
from manifestd.model.evidence import Grade
from manifestd.model.importing import ImportKind
from manifestd.model.logentry import time_text
from manifestd.model.manifest import Item, manifest_digest
from manifestd.model.role import role_of
from manifestd.model.snapshot import EvidenceCounts, Selection, Snapshot, SourceFacts
from manifestd.signing.base import Signer
from manifestd.store import Store
from manifestd.workflows.taking import signed

_SCHEME: Final = "import://"
_UNSIZED: Final = {"size": UNKNOWN_SIZE}


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One file as the document has it.

    Attributes:
        path: Its path.
        size: Bytes; None: the document does not say.
        digests: algorithm -> hex.
        evidence: algorithm -> grade.
        identity: What identifies the object at its source.
        hints: What explains the evidence.
    """

    path: str
    size: int | None = None
    digests: dict[str, str] = {}
    evidence: dict[str, Grade] = {}
    identity: dict[str, str] = {}
    hints: dict[str, Any] = {}


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the evidence comes from.

    Attributes:
        kind: What the document is.
        file: Its name.
        digest: Its sha256.
        facts: More about it.
        tool: Name and version of what imports it.
    """

    kind: ImportKind
    file: str
    digest: Digest
    facts: SourceFacts = {}
    tool: str

    @property
    def source(self) -> str:
        """What stands for a place in records of it."""
        return f"{_SCHEME}{self.kind}/{quote(self.file, safe='')}"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What was stored.

    Attributes:
        snapshot: Digest of the record.
        new: It was not there before.
        notes: What to know about it.
    """

    snapshot: Digest
    new: bool
    notes: list[str]


def keep_evidence(
    store: Store,
    files: list[Listed],
    origin: Origin,
    *,
    name: str,
    ignored: list[str],
    signer: Signer | None,
    at: datetime,
) -> Kept:
    """Store, sign and log a record of what a document says. The same document twice is one.

    Raises:
        EmptySourceError: It names no file.
        MalformedError: A value that is no digest, or a path that is no text.
    """
    if not files:
        raise EmptySourceError(f"{origin.file} names no file")
    before = _before(store, name, origin)
    if before is not None:
        return Kept(snapshot=before, new=False, notes=[])
    sizes = _sizes(store, files)
    with store.transaction():
        record = _record(store, files, sizes, origin, name=name, ignored=ignored, at=at)
        data = canonical.encode(record)
        digest = of_bytes(data)
        bundle, _ = signed(record, digest, signer)
        store.snapshots.add(data, bundle, at=at)
    return Kept(snapshot=digest, new=True, notes=[problem.what for problem in record.problems])


def _before(store: Store, name: str, origin: Origin) -> Digest | None:
    """The record that this document, so named, became before."""
    for row in store.snapshots.list(source=origin.source, name=name):
        facts = store.snapshots.load(row.digest).facts
        if all(facts.get(key) == value for key, value in _facts(origin).items()):
            return Digest(row.digest)
    return None


def _facts(origin: Origin) -> SourceFacts:
    named: SourceFacts = {
        "origin": origin.file,
        "originKind": origin.kind,
        "originDigest": origin.digest,
    }
    return named | origin.facts


def _sizes(store: Store, files: list[Listed]) -> dict[str, int]:
    """Sizes of contents that the document gives none for and that the store has met."""
    wanted = {file.digests.get("sha256") for file in files if file.size is None} - {None}
    found: dict[str, int] = {}
    seen: set[str] = set()
    for row in store.snapshots.list() if wanted else []:
        if row.manifest is None and row.source.startswith(_SCHEME):
            # Its own sizes may be unknown.
            continue
        root = store.snapshots.load(row.digest).content
        if root in seen:
            continue
        seen.add(root)
        found |= {
            sha256: size
            for _, size, sha256 in store.trees.content(root)
            if sha256 is not None and sha256 in wanted
        }
        if found.keys() == wanted:
            break
    return found


def _record(
    store: Store,
    files: list[Listed],
    sizes: dict[str, int],
    origin: Origin,
    *,
    name: str,
    ignored: list[str],
    at: datetime,
) -> Snapshot:
    content, observation = store.trees.content_writer(), store.trees.observation_writer()
    grades: Counter[str] = Counter()
    items: list[Item] = []
    unsized = total = 0
    for file in sorted(files, key=lambda item: _key(item.path)):
        for algorithm, value in file.digests.items():
            check_value(algorithm, value)
        sha256 = file.digests.get("sha256")
        size = sizes.get(sha256 or "") if file.size is None else file.size
        hints = file.hints if size is not None else {**file.hints, **_UNSIZED}
        unsized += size is None
        content.add(file.path, size or 0, sha256)
        digests = {key: value for key, value in file.digests.items() if key != "sha256"}
        observation.add(
            file.path,
            Observation(
                role=role_of(file.path), digests=digests, evidence=file.evidence,
                identity=file.identity, hints=hints,
            ),
        )  # fmt: skip
        grades[file.evidence.get("sha256", "none")] += 1
        total += size or 0
        if sha256 is not None and size is not None:
            items.append(Item(file.path, size, sha256))
    whole = len(items) == len(files)
    problems = []
    if unsized:
        what = (
            f"the size of {unsized} of {len(files)} files is not known: the document does not say "
            "it, and the store holds no file with their digest"
        )
        problems.append(Problem(code="size-unknown", what=what, severity="note"))
    return Snapshot(
        name=name,
        source=origin.source,
        requested=None,
        revision=None,
        captured_at=time_text(at),
        tool=origin.tool,
        selection=Selection(ignore=sorted(ignored), read="none"),
        manifest=manifest_digest(items) if whole else None,
        complete=whole,
        files=len(files),
        bytes=total,
        evidence=EvidenceCounts(**grades),
        content=content.finish(),
        observation=observation.finish(),
        problems=problems,
        facts=_facts(origin),
    )


def _key(path: str) -> bytes:
    try:
        return path.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f"a path that is no text: {path!r}") from error
