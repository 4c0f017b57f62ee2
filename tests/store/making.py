"""Makes small true stores: records with both file lists, bundles with true statements."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from manifestd import canonical
from manifestd.model import media_types
from manifestd.model.digest import Digest
from manifestd.model.entry import Observation
from manifestd.model.evidence import Grade
from manifestd.model.manifest import Item, manifest_digest
from manifestd.model.snapshot import EvidenceCounts, Selection, Snapshot
from manifestd.store import Store, open_store

Listed = tuple[str, int, str | None]

ODD_PATHS = (
    "../up",
    "/absolute",
    "CON",
    "Case.bin",
    "a//b",
    "a/../b",
    "case.bin",
    "cafe\u0301.txt",
    "caf\u00e9.txt",
    "control\x01\x1b[31m\x7f.txt",
    "dir/",
    "line\nbreak\r.txt",
    "long/" + "x" * 1019,
    "nul\x00byte",
    'quote".txt',
    "back\\slash",
    "right\u202eto-left",
    "emoji\U0001f600",
    "\ufffd",
    " ",
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def listed(paths: Iterable[str], salt: str = "") -> list[Listed]:
    return [(path, len(path), sha(path + salt)) for path in sorted(paths, key=str.encode)]


def seen_of(path: str, sha256: str | None, *, salt: str = "") -> Observation:
    evidence: dict[str, Grade] = {"sha1-git": "declared"}
    if sha256:
        evidence["sha256"] = "measured"
    return Observation(
        role="data",
        digests={"sha1-git": hashlib.sha1((path + salt).encode()).hexdigest()},
        evidence=evidence,
        identity={"etag": f"{path}-é"},
        hints={"parts": [1, None, True, {"a": "b"}]},
    )


def write_trees(
    store: Store, entries: Sequence[Listed], *, observed: Sequence[str] | None = None
) -> tuple[Digest, Digest]:
    content, observation = store.trees.content_writer(), store.trees.observation_writer()
    for path, size, sha256 in entries:
        content.add(path, size, sha256)
    hashes = {path: sha256 for path, _, sha256 in entries}
    for path in [entry[0] for entry in entries] if observed is None else observed:
        observation.add(path, seen_of(path, hashes.get(path)))
    return content.finish(), observation.finish()


def record_of(
    entries: Sequence[Listed],
    roots: tuple[Digest, Digest],
    *,
    name: str = "tiny",
    source: str = "hf://org/tiny",
    requested: str | None = "main",
    revision: str | None = "a" * 40,
    captured_at: str = "2026-03-01T10:00:00Z",
) -> Snapshot:
    known = [Item(path, size, digest) for path, size, digest in entries if digest]
    whole = len(known) == len(entries)
    return Snapshot(
        name=name,
        source=source,
        requested=requested,
        revision=revision,
        captured_at=captured_at,
        tool="manifestd test",
        selection=Selection(),
        manifest=manifest_digest(known) if whole else None,
        complete=whole,
        files=len(entries),
        bytes=sum(size for _, size, _ in entries),
        evidence=EvidenceCounts(measured=len(known), none=len(entries) - len(known)),
        content=roots[0],
        observation=roots[1],
    )


def add_snapshot(
    store: Store,
    entries: Sequence[Listed],
    *,
    signed: bool = False,
    name: str = "tiny",
    source: str = "hf://org/tiny",
    requested: str | None = "main",
    revision: str | None = "a" * 40,
    captured_at: str = "2026-03-01T10:00:00Z",
) -> Digest:
    with store.transaction():
        record = record_of(
            entries,
            write_trees(store, entries),
            name=name,
            source=source,
            requested=requested,
            revision=revision,
            captured_at=captured_at,
        )
        data = canonical.encode(record)
        return store.snapshots.add(
            data, bundle_for(canonical.digest_of(record)) if signed else None
        )


def bundle_for(snapshot: str, *, sig: str = "AAAA") -> bytes:
    """A bundle about a snapshot; its signature is none, which is not the store's to judge."""
    statement = {
        "_type": media_types.STATEMENT,
        "predicate": {},
        "predicateType": media_types.SNAPSHOT_PREDICATE,
        "subject": [
            {"digest": {"sha256": sha("a manifest")}, "name": "manifest"},
            {"digest": {"sha256": snapshot[7:]}, "name": "snapshot"},
        ],
    }
    return canonical.encode(
        {
            "dsseEnvelope": {
                "payload": base64.b64encode(canonical.encode(statement)).decode(),
                "payloadType": media_types.IN_TOTO,
                "signatures": [{"sig": sig}],
            },
            "mediaType": media_types.SIGSTORE_BUNDLE,
        }
    )


def small_store(path: Path) -> list[Digest]:
    """A store with three snapshots, two of them signed, and blobs of every kind."""
    with open_store(path, write=True) as store:
        store.blobs.put(b"body " * 100, "body")
        store.blobs.put(b'{"tensors":[]}', "facts")
        first = listed([f"a/{number:03}" for number in range(40)] + ["b.json"])
        second = [*first[:-1], ("b.json", 7, sha("changed"))]
        odd = listed(ODD_PATHS)
        return [
            add_snapshot(store, first, signed=True),
            add_snapshot(store, second, captured_at="2026-03-02T10:00:00.5Z"),
            add_snapshot(store, odd, signed=True, name="odd", source="s3://bucket/odd/",
                         requested=None, revision=None),
        ]  # fmt: skip
