"""Small snapshots in a real store, with evidence chosen by the test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import blake3
import msgspec

from manifestd import canonical
from manifestd.formats import reader_for
from manifestd.model.digest import Digest
from manifestd.model.entry import Chunks, File, Observation, Problem, RegionDigest
from manifestd.model.evidence import Grade
from manifestd.model.manifest import Item, manifest_digest
from manifestd.model.role import role_of
from manifestd.model.snapshot import EvidenceCounts, Selection, Snapshot
from manifestd.store import Store


class Memory:
    """Random access over bytes, for format readers."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


def read_file(
    store: Store,
    path: str,
    data: bytes,
    *,
    grade: Grade = "measured",
    chunk: int | None = None,
    body: bool = True,
) -> File:
    """A file whose bytes were read: digests, body, facts and chunk digests are in the store.

    Without ``body`` its bytes are not kept, as those of a large text.
    """
    reader = reader_for(path, len(data))
    facts = kept = None
    if reader is not None:
        outline = reader.outline(path, Memory(data))
        regions = [
            RegionDigest(
                name=region.name, begin=region.begin, end=region.end, algorithm="blake3",
                digest=blake3.blake3(data[region.begin : region.end]).hexdigest(),
            )
            for region in outline.regions
        ]  # fmt: skip
        kept = data if reader.needs_body and body else None
        facts = reader.facts(path, outline, regions, kept)
    if kept is not None:
        store.blobs.put(kept, "body")
    return File(
        path=path,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        seen=Observation(
            role=role_of(path),
            evidence={"sha256": grade},
            facts=store.blobs.put(canonical.encode(facts), "facts") if facts else None,
            chunks=_chunks(store, data, chunk) if chunk else None,
            body=kept is not None,
        ),
    )


def _chunks(store: Store, data: bytes, size: int) -> str:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    layouts = [
        Chunks(
            algorithm="sha256", size=size, digests=[hashlib.sha256(p).hexdigest() for p in pieces]
        )
    ]
    document = {"layouts": layouts, "schema": "manifestd.chunks/v1"}
    return store.blobs.put(canonical.encode(document), "chunks")


def listed_file(path: str, data: bytes, known: Mapping[str, Grade], **observed: Any) -> File:
    """A file known from a listing only, by md5, sha1 or sha256 of its bytes."""
    digests = {name: hashlib.new(name, data).hexdigest() for name in known}
    sha256 = digests.pop("sha256", None)
    seen = Observation(role=role_of(path), digests=digests, evidence=dict(known), **observed)
    return File(path=path, size=len(data), sha256=sha256, seen=seen)


def keep(
    store: Store,
    files: Mapping[str, bytes | File],
    *,
    source: str = "file:///left",
    revision: str | None = None,
    problems: list[Problem] | None = None,
    ignore: list[str] | None = None,
    bundle: bytes | None = None,
    more_files: int = 0,
    at: datetime | None = None,
    **changed: Any,
) -> Digest:
    """Store a snapshot of these files: bytes were read, :class:`File` values are taken as given."""
    found = [
        read_file(store, path, data) if isinstance(data, bytes) else data
        for path, data in sorted(files.items(), key=lambda item: item[0].encode())
    ]
    with store.transaction():
        content, observation = store.trees.content_writer(), store.trees.observation_writer()
        for file in found:
            content.add(file.path, file.size, file.sha256)
            observation.add(file.path, file.seen)
        roots = content.finish(), observation.finish()
    items = [Item(file.path, file.size, file.sha256) for file in found if file.sha256 is not None]
    known = len(items) == len(found)
    grades = [file.grade() for file in found]
    record = Snapshot(
        name="model",
        source=source,
        requested=None,
        revision=revision,
        captured_at="2026-03-01T10:00:00Z",
        tool="test",
        selection=Selection(ignore=ignore or []),
        manifest=manifest_digest(items) if known else None,
        complete=known and not any(p.severity == "error" for p in problems or []),
        files=len(found) + more_files,
        bytes=sum(file.size for file in found),
        evidence=EvidenceCounts(**{grade: grades.count(grade) for grade in set(grades)}),
        content=roots[0],
        observation=roots[1],
        problems=problems or [],
    )
    record = msgspec.structs.replace(record, **changed)
    return store.snapshots.add(canonical.encode(record), bundle, at=at)
