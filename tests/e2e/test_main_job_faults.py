"""Whatever goes wrong on the way: the true digest, or a clear error for that file. Never a mixture."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import tiny_model
from manifestd.store.check import check_store
from tests.e2e.desk import Desk
from tests.support.s3_faults import Cut, FaultServer, Reset, Stored, Swap, error

WEIGHTS = "model.safetensors"
MODEL = {**tiny_model("acme/tiny"), "big.dat": bytes(range(256)) * 12_000}
HUB = "hf://acme/tiny"
TRUTH = {path: hashlib.sha256(data).hexdigest() for path, data in MODEL.items()}


def digests(desk: Desk, reference: str) -> dict[str, str | None]:
    files = desk.json("files", reference)["files"]
    return {file["path"]: file["digests"].get("sha256") for file in files}


def later(hub: LoopbackHub) -> None:
    """Commit other bytes for every file to the branch."""
    hub.add_revision("acme/tiny", {path: data[::-1] for path, data in MODEL.items()})


MOVES = "the branch moves"
FAULTS: dict[str, list[tuple[str, str, int, int]]] = {
    "the branch moves while files are read": [("resolve/.*config.json", MOVES, 1, 0)],
    "the branch moves during the listing": [("/tree/", MOVES, 1, 0)],
    "a download is cut twice": [("cdn", "cut:900000", 2, 0)],
    "a download is reset twice": [("cdn", "reset:500000", 2, 0)],
    "the Hub answers 429 twice": [("hub", "status:429:0", 2, 0)],
    "the Hub answers 503 twice": [("hub", "status:503", 2, 0)],
    "the store answers 503 twice": [("cdn", "status:503", 2, 0)],
    "links run out": [("cdn", "expired-link", 2, 1)],
    "a cut, then an expired link": [("cdn", "cut:900000", 1, 0), ("cdn", "expired-link", 1, 1)],
    "a range comes shifted after a cut": [
        ("cdn", "cut:900000", 1, 0),
        ("cdn", "wrong-range", 1, 1),
    ],
}
"""Which requests, what goes wrong, how often, after how many good ones."""


@pytest.mark.parametrize("fault", FAULTS)
def test_the_hub_goes_wrong_and_the_digests_are_true(
    desk: Desk, hub: LoopbackHub, fault: str
) -> None:
    commit = hub.add_repo("acme/tiny", MODEL, lfs={WEIGHTS, "big.dat"})
    for match, kind, times, after in FAULTS[fault]:
        what = (lambda: later(hub)) if kind == MOVES else kind
        hub.faults.add(match, what, times=times, after=after)
    result = desk.json("snapshot", "hf", "acme/tiny", "--read", "all")
    assert result["revision"] == commit
    assert result["complete"]
    assert result["evidence"]["measured"] == len(MODEL)
    assert digests(desk, HUB) == TRUTH


@pytest.mark.parametrize(
    "fault",
    ["status:404", "flip:700000", "short:1", "long:1", "other-commit"],
)
def test_a_file_that_stays_wrong_is_named_and_the_others_are_true(
    desk: Desk, hub: LoopbackHub, fault: str
) -> None:
    hub.add_repo("acme/tiny", MODEL, lfs={WEIGHTS, "big.dat"})
    hub.direct = True
    hub.faults.add("resolve/.*big.dat", fault, times=None)
    result = desk.json("snapshot", "hf", "acme/tiny", "--read", "all", code=None)
    [problem] = [one for one in result["problems"] if one.get("severity") != "note"]
    assert problem["path"] == "big.dat"
    assert problem["code"] in {
        "digest-mismatch", "changed-while-reading", "source-not-found",
    }  # fmt: skip
    found = digests(desk, HUB)
    assert {path: found[path] for path in MODEL if path != "big.dat"} == {
        path: TRUTH[path] for path in MODEL if path != "big.dat"
    }
    if fault.startswith("flip"):
        # What came is what is recorded, beside what was declared.
        assert found["big.dat"] not in {None, TRUTH["big.dat"]}


OTHER = bytes(len(MODEL["big.dat"]))


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ([Cut(900_000), Cut(900_000)], 0),
        ([Reset(500_000)] * 3, 0),
        ([error(503, "SlowDown")] * 2, 0),
        ([error(500, "InternalError"), Cut(100), error(503, "SlowDown")], 0),
        ([Swap(Stored(OTHER, "other"))], 3),
        ([Cut(900_000), Swap(Stored(OTHER, "other"))], 3),
        ([Cut(900_000), Swap(Stored(OTHER[1:], "other"))], 3),
        ([error(403, "AccessDenied")] * 9, 3),
    ],
    ids=["cut twice", "reset three times", "a 503 storm", "a mixed storm", "overwritten before",
         "overwritten between two ranges", "overwritten by a shorter one", "forbidden"],
)  # fmt: skip
def test_an_object_in_s3_goes_wrong_and_nothing_false_is_recorded(
    desk: Desk, faulty_s3: FaultServer, faults: list[Any], code: int
) -> None:
    for path, data in MODEL.items():
        faulty_s3.put(f"p/{path}", data)
    faulty_s3.faults["p/big.dat"].extend(faults)
    result = desk.json("snapshot", "s3", "s3://bucket/p/", code=code)
    found = digests(desk, "s3://bucket/p/")
    assert found == {**TRUTH, "big.dat": TRUTH["big.dat"] if code == 0 else None}
    assert result["complete"] == (code == 0)
    problems = [one for one in result["problems"] if one.get("severity") != "note"]
    assert [one["path"] for one in problems] == ([] if code == 0 else ["big.dat"])
    if code:
        assert problems[0]["code"] in {"changed-while-reading", "access-denied"}
        assert result["manifest"] is None


def test_a_place_that_cannot_be_reached_at_all_leaves_the_store_as_it_was(
    desk: Desk, hub: LoopbackHub
) -> None:
    hub.add_repo("acme/tiny", MODEL, gated="manual", private=True)
    before = desk("list").out
    ran = desk("snapshot", "hf", "acme/tiny", "--format", "json", code=3)
    assert ran.document["code"] == "source-not-found"
    assert desk("list").out == before
    assert check_store(desk.store) == []
