"""What was measured is not read again while its place proves it unchanged; and what if that was wrong."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from manifestd.loopback.hub import LoopbackHub
from tests.e2e.desk import Desk
from tests.support.s3_faults import FaultServer, Stored, error

MIRROR = "s3://bucket/p/"
DATA = {f"{number:02}.dat": b"%02d" % number * 500 for number in range(40)}


@pytest.fixture
def mirror(faulty_s3: FaultServer) -> FaultServer:
    for path, data in DATA.items():
        faulty_s3.put(f"p/{path}", data)
    return faulty_s3


def damage(server: FaultServer, path: str) -> None:
    """Other bytes of one length under the same entity tag and time: no listing shows it."""
    stored = server.objects[f"p/{path}"]
    server.objects[f"p/{path}"] = stored._replace(data=stored.data[::-1])


def snapshot(desk: Desk, *options: str, code: int = 0) -> Any:
    return desk.json("snapshot", "s3", MIRROR, *options, code=code)


def test_an_unchanged_prefix_is_not_read_again_and_says_from_where_it_knows(
    desk: Desk, mirror: FaultServer
) -> None:
    first = snapshot(desk)
    sent, gets = mirror.sent, mirror.count("GET", "p/00.dat")
    again = snapshot(desk)
    assert (again["bytesRead"], again["evidence"]["reused"]) == (0, len(DATA))
    assert (mirror.sent, mirror.count("GET", "p/00.dat")) == (sent, gets)
    assert again["manifest"] == first["manifest"]
    assert desk.json("diff", first["snapshot"], again["snapshot"])["verdict"] == "identical"
    # A third run names the one that measured, not the one that reused.
    third = snapshot(desk)
    assert third["evidence"]["reused"] == len(DATA)


@pytest.mark.parametrize("changed", ["etag", "version"])
def test_another_identity_is_read_again(desk: Desk, mirror: FaultServer, changed: str) -> None:
    mirror.versioning = "Enabled" if changed == "version" else ""
    snapshot(desk)
    sent = mirror.sent
    other = {"etag": "other"} if changed == "etag" else {"version": "v2"}
    stored = mirror.objects["p/00.dat"]
    mirror.objects["p/00.dat"] = Stored(stored.data, other.get("etag", stored.etag),
                                        version=other.get("version"))  # fmt: skip
    taken = snapshot(desk)
    assert taken["evidence"]["measured"] == 1
    assert mirror.sent - sent == len(stored.data)


def test_fresh_reads_everything_and_a_wrong_digest_names_who_relied_on_it(
    desk: Desk, mirror: FaultServer
) -> None:
    first, second = snapshot(desk), snapshot(desk)
    damage(mirror, "07.dat")
    assert snapshot(desk)["evidence"]["reused"] == len(DATA)
    taken = snapshot(desk, "--fresh", code=4)
    assert taken["evidence"]["measured"] == len(DATA)
    [problem] = [one for one in taken["problems"] if one.get("severity") == "mismatch"]
    assert (problem["path"], problem["code"]) == ("07.dat", "reuse-wrong")
    assert first["snapshot"] in problem["what"].partition("rely on it: ")[2]
    assert second["snapshot"] in problem["what"].partition("rely on it: ")[2]
    truth = hashlib.sha256(mirror.objects["p/07.dat"].data).hexdigest()
    assert truth in problem["what"]
    # The new measurement stands from now on.
    assert snapshot(desk)["manifest"] == taken["manifest"]


def test_samples_read_everything_again_within_the_rounds_they_promise(
    desk: Desk, mirror: FaultServer
) -> None:
    snapshot(desk)
    before = {path: mirror.count("GET", f"p/{path}") for path in DATA}
    shares = []
    for _ in range(4):
        taken = snapshot(desk, "--sample", "25%")
        shares.append(taken["evidence"]["measured"])
        assert taken["evidence"]["reused"] == len(DATA) - shares[-1]
    assert all(shares)
    assert sum(shares) == len(DATA)
    assert all(mirror.count("GET", f"p/{path}") - count == 1 for path, count in before.items())


def test_a_sample_finds_damage_when_its_turn_comes(desk: Desk, mirror: FaultServer) -> None:
    snapshot(desk)
    damage(mirror, "07.dat")
    codes = [desk("snapshot", "s3", MIRROR, "--sample", "0.5", code=None).code for _ in range(2)]
    assert sorted(codes) == [0, 4]


def test_a_sample_must_be_a_share(desk: Desk, mirror: FaultServer) -> None:
    for text in ("0", "101%", "-5%", "some"):
        desk("snapshot", "s3", MIRROR, "--sample", text, code=2)


def test_a_commit_that_leaves_the_weights_alone_costs_no_reading_of_them(
    desk: Desk, hub: LoopbackHub
) -> None:
    files = {"README.md": b"# one\n", "big.dat": bytes(range(256)) * 4000}
    hub.add_repo("acme/tiny", files, lfs={"big.dat"})
    desk("snapshot", "hf", "acme/tiny", "--read", "all")
    hub.add_revision("acme/tiny", {**files, "README.md": b"# two\n"}, lfs={"big.dat"})
    hub.forget_requests()
    taken = desk.json("snapshot", "hf", "acme/tiny", "--read", "all")
    assert taken["evidence"] == {
        "measured": 1, "reused": 1, "stored": 0, "declared": 0, "none": 0,
    }  # fmt: skip
    assert hub.content_bytes("big.dat") == 0


@pytest.mark.parametrize("how", ["bytes", "touch", "replace"])
def test_a_file_that_was_written_is_read_again(desk: Desk, how: str) -> None:
    place = Path(desk.tree("model", {"a.dat": b"a" * 100, "b.dat": b"b" * 100}))
    desk("snapshot", "dir", str(place))
    target = place / "a.dat"
    stat = target.stat()
    if how == "bytes":
        target.write_bytes(b"A" * 100)
        os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif how == "touch":
        os.utime(target)
    else:
        other = place.parent / "other"
        other.write_bytes(b"A" * 100)
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        other.replace(target)
    taken = desk.json("snapshot", "dir", str(place))
    assert (taken["evidence"]["measured"], taken["evidence"]["reused"]) == (1, 1)
    assert taken["bytesRead"] == 100


def test_failures_are_tried_again_and_leave_what_was_measured(
    desk: Desk, mirror: FaultServer
) -> None:
    mirror.replies["GET", "p/07.dat"] = lambda _: error(403, "AccessDenied")
    taken = snapshot(desk, code=3)
    assert (taken["complete"], taken["evidence"]["none"]) == (False, 1)
    mirror.replies.clear()
    taken = snapshot(desk)
    assert taken["complete"]
    assert (taken["evidence"]["measured"], taken["evidence"]["reused"]) == (1, len(DATA) - 1)
