"""The read loop against every way a source can fail, with streams scripted in process."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.errors import (
    AccessDeniedError,
    ChangedError,
    ManifestdError,
    MismatchError,
    TransientError,
)
from manifestd.model.entry import Measurement
from manifestd.reading.measure import READ_SIZE, SMALL_READ_SIZE, RetryBudget, measure
from manifestd.reading.wants import ChunkLayout, Wants

DATA = random.Random(1).randbytes(500_000)
WANTS = Wants(
    git_blob=True, algorithms=frozenset({"crc64nvme"}), chunks=(ChunkLayout(size=70_000),)
)
BUDGET = RetryBudget(seconds=100, tries=5)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Script:
    """A source of one object that ends each connection as it is told.

    Args:
        data: What the object holds.
        acts: One a connection: how many bytes it gives and what ends it (None: a clean
            end). After the last act connections give everything.
    """

    def __init__(
        self,
        data: bytes,
        acts: list[tuple[int, ManifestdError | None]],
        on_open: Callable[[int], None] | None = None,
    ) -> None:
        self.data = data
        self.acts = acts
        self.on_open = on_open
        self.offsets: list[int] = []
        self.sizes: list[int] = []
        self.open_streams = 0

    def open_at(self, offset: int) -> ScriptedStream:
        self.offsets.append(offset)
        if self.on_open is not None:
            self.on_open(len(self.offsets))
        give, end = self.acts.pop(0) if self.acts else (len(self.data), None)
        if give < 0:
            assert end is not None
            raise end
        self.open_streams += 1
        return ScriptedStream(self, self.data[offset : offset + give], end)


class ScriptedStream:
    def __init__(self, script: Script, data: bytes, end: ManifestdError | None) -> None:
        self.script = script
        self.data = data
        self.end = end

    def chunks(self, size: int) -> Iterator[memoryview]:
        self.script.sizes.append(size)
        buffer = bytearray(size)
        for begin in range(0, len(self.data), size):
            piece = self.data[begin : begin + size]
            buffer[: len(piece)] = piece
            yield memoryview(buffer)[: len(piece)]
        if self.end is not None:
            raise self.end

    def close(self) -> None:
        self.script.open_streams -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def cut() -> TransientError:
    return TransientError("connection reset")


def run(
    script: Script, *, wants: Wants = WANTS, budget: RetryBudget = BUDGET, size: int = len(DATA)
) -> tuple[Measurement, Clock]:
    clock = Clock()
    result = measure(
        script.open_at, "w.bin", size, wants, budget=budget, sleep=clock.sleep, clock=clock
    )
    assert script.open_streams == 0
    return result, clock


def true_result() -> Measurement:
    return run(Script(DATA, []))[0]


def test_an_untroubled_read_gives_the_digests_in_one_request() -> None:
    script = Script(DATA, [])
    result, clock = run(script)
    assert result.problem is None
    assert result.digests["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert (result.size, result.bytes_read, result.requests, result.resumed) == (500_000,) * 2 + (
        1,
        0,
    )
    assert script.sizes == [READ_SIZE]
    assert clock.slept == []


@given(
    acts=st.lists(
        st.tuples(st.integers(0, 120_000), st.booleans()),
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_cuts_anywhere_clean_or_not_never_change_a_digest(acts: list[tuple[int, bool]]) -> None:
    script = Script(DATA, [(give, cut() if raised else None) for give, raised in acts])
    result, _ = run(script, budget=RetryBudget(seconds=1e9, tries=20))
    assert result.problem is None
    truth = true_result()
    assert result.digests == truth.digests
    assert result.chunks == truth.chunks
    assert result.bytes_read == len(DATA)


def test_a_cut_resumes_at_the_exact_byte_without_waiting() -> None:
    script = Script(DATA, [(123_456, cut()), (1, cut())])
    result, clock = run(script)
    assert script.offsets == [0, 123_456, 123_457]
    assert result.resumed == 2
    assert clock.slept == []


def test_a_clean_end_too_early_is_a_cut() -> None:
    script = Script(DATA, [(400_000, None)])
    result, _ = run(script)
    assert script.offsets == [0, 400_000]
    assert result.digests == true_result().digests


def test_after_a_try_without_progress_reads_are_small() -> None:
    script = Script(DATA, [(100_000, cut()), (0, cut())])
    run(script)
    assert script.sizes == [READ_SIZE, READ_SIZE, SMALL_READ_SIZE]


def test_a_goodbye_lost_after_the_last_byte_is_no_reason_to_ask_again() -> None:
    script = Script(DATA, [(len(DATA), cut())])
    result, _ = run(script)
    assert result.problem is None
    assert script.offsets == [0]


def test_tries_without_progress_end_in_a_problem_that_says_how_many() -> None:
    script = Script(DATA, [(1000, cut()), *[(-1, cut())] * 50])
    result, clock = run(script)
    assert result.problem is not None
    assert result.problem.code == "source-unreachable"
    assert "5 tries" in result.problem.what
    assert "connection reset" in result.problem.what
    assert result.digests == {}
    assert result.requests == 6
    assert result.bytes_read == 1000
    assert clock.slept == [0.0] * 0 + [0.25, 0.5, 1.0, 2.0]


def test_progress_renews_the_patience() -> None:
    acts: list[tuple[int, ManifestdError | None]] = []
    for _ in range(30):
        acts += [(-1, cut()), (-1, cut()), (-1, cut()), (1000, cut())]
    result, _ = run(Script(DATA, acts))
    assert result.problem is None
    assert result.digests == true_result().digests


def test_the_wait_a_server_asks_for_is_kept() -> None:
    busy = TransientError("429", retry_after=7.5, throttled=True)
    _, clock = run(Script(DATA, [(-1, busy), (10, busy)]))
    assert clock.slept == [7.5, 7.5]


def test_a_wait_longer_than_the_budget_is_rate_limited_at_once() -> None:
    result, clock = run(Script(DATA, [(-1, TransientError("429", retry_after=101))]))
    assert result.problem is not None
    assert result.problem.code == "rate-limited"
    assert "101 s" in result.problem.what
    assert clock.slept == []


def test_throttling_without_a_time_waits_longer_each_time_then_is_rate_limited() -> None:
    busy = TransientError("SlowDown", throttled=True)
    result, clock = run(Script(DATA, [(-1, busy)] * 9), budget=RetryBudget(seconds=60, tries=99))
    assert result.problem is not None
    assert result.problem.code == "rate-limited"
    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 29.0]


def test_giving_up_says_what_failed_and_why() -> None:
    broken = TransientError("the connection to hub broke", why="incorrect header check")
    result, _ = run(Script(DATA, [(-1, broken)] * 9), budget=RetryBudget(seconds=60, tries=1))
    assert result.problem is not None
    assert result.problem.what.startswith("no byte in 1 try and 0 s ")
    assert "the connection to hub broke: incorrect header check" in result.problem.what


def test_more_bytes_than_listed_is_a_changed_object_at_once() -> None:
    script = Script(DATA + b"x", [])
    result, _ = run(script)
    assert result.problem is not None
    assert result.problem.code == "changed-while-reading"
    assert result.digests == {}
    assert script.offsets == [0]


@pytest.mark.parametrize(
    ("error", "code", "severity"),
    [
        (ChangedError("412"), "changed-while-reading", "error"),
        (AccessDeniedError("403", why="KMS"), "access-denied", "error"),
        (MismatchError("checksum of the transfer is wrong"), "digest-mismatch", "mismatch"),
    ],
)
def test_what_is_not_worth_a_retry_is_the_files_problem(
    error: ManifestdError, code: str, severity: str
) -> None:
    script = Script(DATA, [(5000, error)])
    result, _ = run(script)
    assert result.problem is not None
    assert (result.problem.code, result.problem.severity) == (code, severity)
    assert result.problem.path == result.path == "w.bin"
    assert script.offsets == [0]
    assert result.bytes_read == 5000


def test_secrets_in_an_error_do_not_reach_the_problem() -> None:
    error = AccessDeniedError("GET https://cdn.example/x?X-Amz-Signature=abc with hf_abcdefghijkl")
    result, _ = run(Script(DATA, [(-1, error)]))
    assert result.problem is not None
    assert "abc" not in result.problem.what


def test_an_empty_file_is_opened_all_the_same() -> None:
    script = Script(b"", [])
    result, _ = run(script, size=0)
    assert script.offsets == [0]
    assert result.problem is None
    assert result.digests["sha256"] == hashlib.sha256(b"").hexdigest()


def test_an_empty_file_that_cannot_be_opened_is_a_problem() -> None:
    result, _ = run(Script(b"", [(-1, cut())] * 9), size=0)
    assert result.problem is not None


def test_an_interrupt_passes_and_closes_the_stream() -> None:
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    script = Script(DATA, [])
    with pytest.raises(KeyboardInterrupt):
        measure(script.open_at, "w", len(DATA), WANTS, budget=BUDGET, on_bytes=interrupt)
    assert script.open_streams == 0


def test_bytes_are_reported_once_each_across_resumes() -> None:
    counts: list[int] = []
    script = Script(DATA, [(200_000, cut()), (100_000, None)])
    measure(script.open_at, "w", len(DATA), WANTS, budget=BUDGET, on_bytes=counts.append)
    assert sum(counts) == len(DATA)


def test_an_impossible_want_is_a_problem_of_the_file() -> None:
    result, _ = run(Script(DATA, []), wants=Wants(algorithms=frozenset({"rot13"})))
    assert result.problem is not None
    assert result.problem.code == "usage"
