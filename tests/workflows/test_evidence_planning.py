"""What is computed for another side, what is carried over, and how many problems a record lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manifestd.model.chunks import encode_chunks
from manifestd.model.entry import Chunks, Entry, File, Observation, Problem
from manifestd.model.reference import parse_hub, parse_s3
from manifestd.reading.wants import ChunkLayout
from manifestd.sources.base import Resolved
from manifestd.store import Store, open_store
from manifestd.workflows.assemble import MAX_PROBLEMS, Assembly
from manifestd.workflows.cross_evidence import Asked, asked_for
from manifestd.workflows.doubts import doubts_of
from manifestd.workflows.plan import Decision, SnapshotRequest, decide

SIZE = 10 * 1024 * 1024
ENTRY = Entry(path="m", size=SIZE)
PART = 4 * 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "x.db", write=True) as opened:
        yield opened


def there(part: Any = PART, sha256: str | None = None, **digests: str) -> File:
    """The other side's knowledge of the file."""
    return File(
        path="m", size=SIZE, sha256=sha256,
        seen=Observation(
            digests=digests, evidence=dict.fromkeys(digests, "stored"),
            hints={"composite": {"algorithm": "sha256", "partSize": part}},
        ),
    )  # fmt: skip


COMPOSITE = {"sha256-composite": "0" * 64}


@pytest.mark.parametrize(
    ("other", "asked"),
    [
        (None, Asked()),
        (there(sha256="0" * 64, md5="0" * 32), Asked()),
        (there(), Asked()),
        (there(md5="0" * 32, crc64nvme="0" * 16), Asked(algorithms=frozenset({"crc64nvme"}))),
        (there(md5="0" * 32, sha512="0" * 128), Asked(algorithms=frozenset({"sha512"}))),
        (there(**COMPOSITE, md5="0" * 32), Asked(layouts=(ChunkLayout(algorithm="sha256", size=PART),))),
        (there(SIZE, **COMPOSITE), Asked(algorithms=frozenset({"sha256"}))),
        # A hint that would have us compute ten million digests, or none at all.
        (there(1, **COMPOSITE), Asked()),
        (there(-5, **COMPOSITE), Asked()),
        (there("many", **COMPOSITE), Asked()),
    ],
)  # fmt: skip
def test_one_thing_is_computed_for_a_side_without_a_sha256(
    other: File | None, asked: Asked
) -> None:
    assert asked_for(ENTRY, other) == asked


def test_nothing_is_computed_that_the_listing_has_or_the_sizes_decide() -> None:
    listed = Entry(path="m", size=SIZE, digests={"crc64nvme": "1" * 16}, evidence={})
    assert asked_for(listed, there(crc64nvme="0" * 16)) == Asked()
    assert asked_for(Entry(path="m", size=SIZE + 1), there(crc64nvme="0" * 16)) == Asked()


def test_what_was_computed_once_is_not_asked_for_again(store: Store) -> None:
    asked = asked_for(ENTRY, there(**COMPOSITE))
    assert asked.lacking(store, None) == {"sha256-composite"}
    with store.transaction():
        other, right = (
            store.blobs.put(
                encode_chunks([Chunks(algorithm="sha256", size=size, digests=["0" * 64] * 3)]),
                "chunks",
            )
            for size in (PART * 2, PART)
        )
    for chunks, lacking in ((None, True), (other, True), (right, False)):
        known = File(path="m", size=SIZE, sha256="0" * 64, seen=Observation(chunks=chunks))
        assert bool(asked.lacking(store, known)) is lacking


def test_facts_that_could_not_be_had_before_are_asked_for_again() -> None:
    digests = {"sha256": "0" * 64}
    identity = {"blobId": "b", "commit": "c"}
    entry = Entry(path="m.safetensors", size=SIZE, digests=digests, identity=identity)
    request = SnapshotRequest(reference=parse_hub("org/name"))
    for facts, fresh, action in (
        ("sha256:" + "0" * 64, False, "carry"),
        ("sha256:" + "0" * 64, True, "headers"),
        (None, False, "headers"),
    ):
        seen = Observation(evidence={"sha256": "declared"}, identity=identity, facts=facts)
        before = File(path=entry.path, size=SIZE, sha256="0" * 64, seen=seen)
        asked = SnapshotRequest(reference=request.reference, fresh=fresh)
        assert decide(asked, entry, before, frozenset(), 0).action == action


@pytest.mark.parametrize("broken", [0, MAX_PROBLEMS + 5])
def test_very_many_problems_are_counted_and_cast_doubt_only_where_files_may_be_missing(
    store: Store, broken: int
) -> None:
    with store.transaction():
        assembly = Assembly(store, None, "none")
        for number in range(3 * MAX_PROBLEMS):
            entry = Entry(path=f"{number:06}", size=1)
            assembly.add(entry, Decision(action="keep"), None, None)
        listing = [Problem(code="unreadable", what=f"{n}") for n in range(broken)]
        record = assembly.record(
            SnapshotRequest(reference=parse_s3("s3://bucket/p/"), read="none"),
            Resolved(place="s3://bucket/p/", name="p"),
            captured_at="2026-01-01T00:00:00Z",
            tool="test",
            problems=listing,
        )
    assert not record.complete
    assert len(record.problems) == MAX_PROBLEMS + 1
    codes = {problem.code for problem in record.problems}
    assert ("more-problems" in codes) is bool(broken)
    assert ("more-unknown" in codes) is not bool(broken)
    assert (doubts_of(record, "left", "s3://bucket/p/").whole is not None) is bool(broken)
