"""Reading from the Hub through every fault: the true bytes or a clear error, never a mixture."""

from __future__ import annotations

import hashlib

import pytest

from manifestd.errors import (
    ChangedError,
    ManifestdError,
    SourceNotFoundError,
    TransientError,
    UnreadableError,
)
from manifestd.loopback.hub import LoopbackHub
from manifestd.model.entry import Entry, Measurement
from manifestd.reading.measure import RetryBudget, measure
from manifestd.reading.wants import Wants
from manifestd.sources.base import Resolved
from manifestd.sources.hub import HubSource
from tests.contracts.source_suite import content, everything
from tests.loopback.hub_support import FILES, WEIGHTS, Naps, source_over

SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
TEXT = b"line\n" * 3000
TREE = {"model.safetensors": WEIGHTS, "notes.txt": TEXT}


def opened(
    hub: LoopbackHub, path: str = "model.safetensors", *, read_timeout: float = 5.0
) -> tuple[HubSource, Resolved, Entry]:
    hub.add_repo("org/name", TREE)
    source = source_over(hub, read_timeout=read_timeout)
    resolved = source.resolve()
    entries, _ = everything(source, resolved)
    return source, resolved, entries[path]


def measured(source: HubSource, resolved: Resolved, entry: Entry, naps: Naps) -> Measurement:
    return measure(
        lambda offset: source.open(resolved, entry, offset),
        entry.path,
        entry.size,
        Wants(git_blob=True),
        budget=RetryBudget(seconds=60, tries=6),
        sleep=naps.sleep,
        clock=naps.clock,
    )


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("kind", ["cut:300000", "reset:300000", "short:5000"])
def test_a_connection_lost_in_the_middle_is_resumed_by_range(
    hub: LoopbackHub, naps: Naps, kind: str, direct: bool
) -> None:
    hub.direct = direct
    source, resolved, entry = opened(hub)
    where = "hub .*resolve" if direct else "cdn"
    hub.faults.add(where, kind, times=2)
    found = measured(source, resolved, entry, naps)
    if kind == "short:5000":
        # A whole answer with another length than listed is another object, not a lost connection.
        assert found.problem is not None
        assert found.problem.code == "changed-while-reading"
        return
    assert found.problem is None
    assert found.digests["sha256"] == SHA256
    assert found.resumed > 0
    ranges = [e.headers["range"] for e in hub.requests if "range" in e.headers]
    assert len(ranges) >= 2
    # Every try starts from the Hub, because links to the store run out.
    assert all(exchange.origin == "hub" for exchange in hub.requests[2 :: 1 if direct else 2])
    assert hub.content_bytes() < len(WEIGHTS) + 600_000


def test_a_stall_ends_with_the_read_timeout_and_is_resumed(hub: LoopbackHub, naps: Naps) -> None:
    source, resolved, entry = opened(hub, read_timeout=0.3)
    hub.faults.add("cdn", "stall:100000")
    found = measured(source, resolved, entry, naps)
    assert found.digests["sha256"] == SHA256
    assert hub.content_bytes() == len(WEIGHTS)


@pytest.mark.parametrize("where", ["hub .*resolve/", "cdn"])
@pytest.mark.parametrize("status", ["429:3", "503", "500", "502", "504", "408"])
def test_a_storm_of_refusals_is_waited_out(
    hub: LoopbackHub, naps: Naps, where: str, status: str
) -> None:
    source, resolved, entry = opened(hub)
    hub.faults.add(where, f"status:{status}", times=4)
    found = measured(source, resolved, entry, naps)
    assert found.problem is None
    assert found.digests["sha256"] == SHA256
    if status == "429:3":
        assert naps.taken == [3.0] * 4, "Retry-After is obeyed"


def test_an_expired_link_starts_again_at_the_hub(hub: LoopbackHub, naps: Naps) -> None:
    source, resolved, entry = opened(hub)
    hub.faults.add("cdn", "cut:200000")
    hub.faults.add("cdn", "expired-link", after=1)
    found = measured(source, resolved, entry, naps)
    assert found.digests["sha256"] == SHA256
    origins = [exchange.origin for exchange in hub.requests if "/tree/" not in exchange.path]
    assert origins == ["hub", *["hub", "cdn"] * 3]


def test_a_store_that_refuses_every_link_is_named_without_the_links_signature(
    hub: LoopbackHub, naps: Naps
) -> None:
    source, resolved, entry = opened(hub)
    hub.faults.add("cdn", "expired-link", times=None)
    found = measured(source, resolved, entry, naps)
    assert found.problem is not None
    assert found.problem.code == "source-unreachable"
    assert "Signature" not in repr(found.problem)
    assert "blocks the Hub's store" in found.problem.what or "403" in found.problem.what


@pytest.mark.parametrize("kind", ["ignore-range", "gzip"])
@pytest.mark.parametrize("path", ["model.safetensors", "notes.txt"])
def test_a_server_that_ignores_ranges_still_gives_the_right_tail(
    hub: LoopbackHub, kind: str, path: str
) -> None:
    source, resolved, entry = opened(hub, path)
    hub.faults.add("cdn|resolve-cache", kind, times=None)
    for offset in (0, 1, len(TREE[path]) - 1, len(TREE[path])):
        assert content(source, resolved, entry, offset) == TREE[path][offset:]
    assert source.peek(resolved, entry).read_at(7, 11) == TREE[path][7:18]


def test_a_short_rest_that_nobody_asked_for_does_not_cost_the_connection(
    hub: LoopbackHub,
) -> None:
    source, resolved, entry = opened(hub, "notes.txt")
    hub.faults.add("cdn|resolve-cache", "ignore-range", times=None)
    hub.forget_requests()
    for offset in range(5):
        assert source.peek(resolved, entry).read_at(offset, 3) == TEXT[offset : offset + 3]
    assert len({exchange.port for exchange in hub.requests}) == 1


def test_a_shifted_range_is_asked_for_again(hub: LoopbackHub, naps: Naps) -> None:
    source, resolved, entry = opened(hub)
    hub.faults.add("cdn", "cut:200000")
    hub.faults.add("cdn", "wrong-range", after=1)
    found = measured(source, resolved, entry, naps)
    assert found.digests["sha256"] == SHA256
    hub.faults.add("cdn", "wrong-range")
    with pytest.raises(TransientError):
        content(source, resolved, entry, 1000)


def test_a_range_that_ends_early_is_progress(hub: LoopbackHub, naps: Naps) -> None:
    source, resolved, entry = opened(hub)
    hub.faults.add("cdn", "cut:200000")
    hub.faults.add("cdn", "half-range", after=1, times=3)
    found = measured(source, resolved, entry, naps)
    assert found.digests["sha256"] == SHA256
    assert found.resumed == 4
    assert naps.taken == [], "bytes came each time"


@pytest.mark.parametrize(
    ("kind", "offset"),
    [("wrong-total", 1000), ("long:1", 0), ("short:1", 0), ("other-commit", 0), ("gzip", None)],
)
def test_another_object_than_the_listed_one_is_an_error(
    hub: LoopbackHub, kind: str, offset: int | None
) -> None:
    hub.direct = True
    source, resolved, entry = opened(hub)
    if offset is None:
        # Encoded answers have no length: only counting finds the byte too many.
        entry = Entry(path=entry.path, size=entry.size - 1)
    hub.faults.add("resolve", kind)
    with pytest.raises(ChangedError):
        content(source, resolved, entry, offset or 0)


def test_a_listed_size_that_the_hub_contradicts_is_noticed_without_reading(
    hub: LoopbackHub,
) -> None:
    source, resolved, entry = opened(hub)
    other = Entry(path=entry.path, size=entry.size + 1)
    for kind in ("ignore-range", "gzip"):
        # An encoded answer has no length: there only the Hub's redirect tells.
        hub.faults.add("cdn", kind)
        with pytest.raises(ChangedError):
            source.open(resolved, other)


def test_a_mirror_that_does_not_name_the_commit_is_not_believed(hub: LoopbackHub) -> None:
    source, resolved, entry = opened(hub)
    hub.faults.add("resolve", "no-commit")
    with pytest.raises(UnreadableError) as caught:
        content(source, resolved, entry)
    assert "X-Repo-Commit" in (caught.value.why or "")


def test_a_branch_that_moves_while_a_file_is_read_does_not_matter(
    hub: LoopbackHub, naps: Naps
) -> None:
    source, resolved, entry = opened(hub)
    hub.faults.add("cdn", "cut:400000")
    hub.faults.add(
        "cdn", lambda: hub.add_revision("org/name", {"model.safetensors": bytes(len(WEIGHTS))})
    )
    found = measured(source, resolved, entry, naps)
    assert found.digests["sha256"] == SHA256
    assert source_over(hub).resolve().revision != resolved.revision


def test_a_commit_that_vanishes_while_it_is_read_is_not_found(hub: LoopbackHub) -> None:
    source, resolved, entry = opened(hub)
    gone = Resolved(place=resolved.place, name=resolved.name, revision="2" * 40)
    with pytest.raises(SourceNotFoundError, match="no revision"):
        content(source, gone, entry)
    with pytest.raises(SourceNotFoundError, match="not in the model"):
        content(source, resolved, Entry(path="nothing.txt", size=1))


def test_an_object_the_store_has_lost_is_unreadable_and_others_are_read(hub: LoopbackHub) -> None:
    source, resolved, entry = opened(hub)
    hub.lose_object("org/name", entry.path)
    with pytest.raises(UnreadableError, match="store does not have it"):
        content(source, resolved, entry)
    entries, _ = everything(source, resolved)
    assert content(source, resolved, entries["notes.txt"]) == TEXT


def test_bytes_that_contradict_the_declared_digest_come_through_to_be_measured(
    hub: LoopbackHub, naps: Naps
) -> None:
    rotten = WEIGHTS[:500] + b"\xff" + WEIGHTS[501:]
    hub.add_repo("org/rotten", TREE, served={"model.safetensors": rotten})
    source = source_over(hub, "org/rotten")
    resolved = source.resolve()
    entries, _ = everything(source, resolved)
    found = measured(source, resolved, entries["model.safetensors"], naps)
    assert entries["model.safetensors"].digests["sha256"] == SHA256
    assert found.digests["sha256"] == hashlib.sha256(rotten).hexdigest()


def test_peeking_sends_no_more_than_is_asked_for(hub: LoopbackHub) -> None:
    source, resolved, entry = opened(hub)
    view = source.peek(resolved, entry)
    assert view.read_at(0, 8) == WEIGHTS[:8]
    assert view.read_at(8, 1000) == WEIGHTS[8:1008]
    assert hub.content_bytes() == 1008


def test_no_error_of_the_http_library_crosses_whatever_breaks(hub: LoopbackHub) -> None:
    source, resolved, entry = opened(hub)
    for fault in ("redirect:ftp://nowhere/x", "redirect:http://127.0.0.1:1/x", "redirect:http://[",
                  "redirect:/org/name/resolve/main/model.safetensors", "status:418", "status:304",
                  "cut:0", "reset:0", "garbage"):  # fmt: skip
        hub.faults.clear()
        hub.faults.add("resolve", fault, times=None)
        with pytest.raises(ManifestdError):
            content(source, resolved, entry)
        with pytest.raises(ManifestdError):
            source.peek(resolved, entry).read_at(0, 8)
    hub.faults.clear()
    assert content(source, resolved, entry) == FILES["model.safetensors"]
