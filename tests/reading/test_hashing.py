"""One feeder gives every digest, however the bytes are cut."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import zlib

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.errors import MalformedError, UsageError
from manifestd.model.digest import HEX_LENGTH
from manifestd.model.region import Region
from manifestd.reading import hashing
from manifestd.reading.algorithms import ALGORITHMS, hasher
from manifestd.reading.aside import Aside, idle_core, large_pass, usable_cores
from manifestd.reading.hashing import Feeder, Findings
from manifestd.reading.wants import BODY_LIMIT, ChunkLayout, Wants

EVERYTHING = Wants(
    git_blob=True,
    algorithms=ALGORITHMS - {"sha256"},
    chunks=(
        ChunkLayout(algorithm="blake3", size=100),
        ChunkLayout(algorithm="sha256", size=64),
        ChunkLayout(algorithm="md5", size=1),
    ),
    regions=(
        Region("empty at the start", 0, 0),
        Region("first", 0, 7),
        Region("second, right after", 7, 150),
        Region("empty in between", 200, 200),
        Region("to the end", 290, 300),
        Region("empty at the end", 300, 300),
    ),
    body=True,
)

DATA = random.Random(7).randbytes(300)


def fed(pieces: list[bytes], wants: Wants) -> Findings:
    """Findings after feeding pieces through one buffer that is overwritten each time."""
    feeder = Feeder(sum(map(len, pieces)), wants)
    buffer = bytearray(max(map(len, pieces), default=0))
    for piece in pieces:
        buffer[: len(piece)] = piece
        feeder.update(memoryview(buffer)[: len(piece)])
    return feeder.finish()


@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_cutting_of_the_bytes_gives_the_same_findings(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(DATA)]
    pieces = [DATA[begin:end] for begin, end in itertools.pairwise(edges)]
    assert fed(pieces, EVERYTHING) == fed([DATA], EVERYTHING)


def test_findings_are_what_the_libraries_say_of_each_part_alone() -> None:
    found = fed([DATA], EVERYTHING)
    assert found.digests["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert found.digests["sha512"] == hashlib.sha512(DATA).hexdigest()
    assert found.digests["md5"] == hashlib.md5(DATA).hexdigest()
    assert found.digests["sha1-git"] == hashlib.sha1(b"blob 300\0" + DATA).hexdigest()
    assert found.digests["crc32"] == f"{zlib.crc32(DATA):08x}"
    assert found.digests["blake3"] == blake3(DATA).hexdigest()
    assert found.chunks[0].digests == [
        blake3(DATA[begin : begin + 100]).hexdigest() for begin in (0, 100, 200)
    ]
    assert found.chunks[1].digests == [
        hashlib.sha256(DATA[begin : begin + 64]).hexdigest() for begin in range(0, 300, 64)
    ]
    assert len(found.chunks[2].digests) == 300
    assert [(each.name, each.digest) for each in found.regions] == [
        (region.name, blake3(DATA[region.begin : region.end]).hexdigest())
        for region in EVERYTHING.regions
    ]
    assert found.body == DATA


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        # Check values of the CRC catalogue (reveng.sourceforge.io) over "123456789".
        ("crc32", "cbf43926"),
        ("crc32c", "e3069283"),
        ("crc64nvme", "ae8b14860a799888"),
        ("md5", "25f9e794323b453885f5181f1b624d0b"),
        ("sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
    ],
)
def test_checksums_match_their_published_check_values(algorithm: str, value: str) -> None:
    hashing_it = hasher(algorithm)()
    hashing_it.update(b"1234")
    hashing_it.update(memoryview(b"56789"))
    assert hashing_it.hexdigest() == value


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_prints_the_length_the_record_expects(algorithm: str) -> None:
    assert len(hasher(algorithm)().hexdigest()) == HEX_LENGTH[algorithm]


def test_an_unknown_algorithm_is_named_in_the_error() -> None:
    with pytest.raises(UsageError, match="'sha257'"):
        Feeder(1, Wants(algorithms=frozenset({"sha257"})))


def test_the_git_id_of_the_empty_file_is_the_known_one() -> None:
    found = fed([], Wants(git_blob=True))
    assert found.digests["sha1-git"] == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_a_file_of_exactly_one_piece_has_no_chunks_and_one_byte_more_has_two() -> None:
    wants = Wants(chunks=(ChunkLayout(size=100),))
    assert fed([bytes(100)], wants).chunks == []
    assert [len(each.digests) for each in fed([bytes(101)], wants).chunks] == [2]
    assert [len(each.digests) for each in fed([bytes(200)], wants).chunks] == [2]


def test_large_bodies_are_not_kept_whoever_asks() -> None:
    feeder = Feeder(BODY_LIMIT + 1, Wants(body=True))
    feeder.update(b"x")
    assert feeder.finish().body is None


@pytest.mark.parametrize(
    "regions",
    [
        (Region("a", 5, 4),),
        (Region("a", 0, 11),),
        (Region("a", 4, 6), Region("b", 5, 7)),
        (Region("b", 5, 7), Region("a", 0, 2)),
        (Region("a", -1, 2),),
    ],
)
def test_regions_out_of_order_or_outside_are_refused(regions: tuple[Region, ...]) -> None:
    with pytest.raises(MalformedError):
        Feeder(10, Wants(regions=regions))


def test_regions_alone_can_be_asked_for() -> None:
    found = fed([DATA], Wants(sha256=False, regions=(Region("a", 1, 5),)))
    assert found.digests == {}
    assert [each.digest for each in found.regions] == [blake3(DATA[1:5]).hexdigest()]


def test_a_second_core_changes_nothing_but_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(8).randbytes(3_000_000)
    wants = Wants(
        git_blob=True,
        chunks=(ChunkLayout(size=700_001),),
        regions=(Region("a", 10, 2_500_000),),
        body=True,
    )
    pieces = [data[begin : begin + 1_000_000] for begin in range(0, 3_000_000, 1_000_000)]
    results = []
    for idle in (True, False):
        monkeypatch.setattr(hashing, "idle_core", lambda idle=idle: idle)
        results.append(fed(pieces, wants))
    assert results[0] == results[1]
    assert results[0].digests["sha256"] == hashlib.sha256(data).hexdigest()
    assert not [each for each in threading.enumerate() if each.name == "manifestd-aside"]


def test_what_goes_wrong_aside_is_raised_by_the_wait() -> None:
    def refuse(_: object) -> None:
        raise ValueError("no")

    aside = Aside([refuse])
    aside.start(b"x")
    with pytest.raises(ValueError, match="no"):
        aside.wait()
    aside.close()


def test_a_core_idles_until_as_many_large_files_are_read_as_there_are_cores() -> None:
    assert idle_core()
    passes = [large_pass() for _ in range(usable_cores())]
    for each in passes:
        each.__enter__()
    assert not idle_core()
    for each in passes:
        each.__exit__(None, None, None)
    assert idle_core()
