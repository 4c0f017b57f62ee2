"""Reading through everything a network does: the true digest or a clear error, and nothing read twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from manifestd.loopback.hub import LoopbackHub
from tests.e2e.desk import Desk
from tests.e2e.world import put_whole
from tests.support.s3_faults import (
    Cut,
    FaultServer,
    IgnoreRange,
    Reply,
    Reset,
    Seen,
    Stored,
    Swap,
    WrongRange,
    error,
)

MIRROR = "s3://bucket/p/"
DATA = hashlib.shake_128(b"weights").digest(3_000_000)
TRUTH = hashlib.sha256(DATA).hexdigest()
EVERY = 300_000


def digest(desk: Desk, reference: str, path: str = "big.dat") -> str | None:
    files = {file["path"]: file for file in desk.json("files", reference)["files"]}
    found: str | None = files[path]["digests"].get("sha256")
    return found


def test_a_bucket_that_resets_every_300_kilobytes_gives_the_true_digest(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    put_whole(faulty_s3, "p/big.dat", DATA, "CRC64NVME")
    faulty_s3.faults["p/big.dat"].extend([Reset(EVERY)] * 40)
    taken = desk.json("snapshot", "s3", MIRROR)
    assert digest(desk, MIRROR) == TRUTH
    files = {file["path"]: file for file in desk.json("files", MIRROR)["files"]}
    # What S3 holds was computed beside the digest, over all the resumed pieces.
    assert files["big.dat"]["evidence"]["crc64nvme"] == "measured"
    assert taken["bytesRead"] < 2 * len(DATA)


def test_a_hub_that_resets_every_300_kilobytes_gives_the_true_digest(
    desk: Desk, hub: LoopbackHub
) -> None:
    hub.add_repo("acme/tiny", {"big.dat": DATA}, lfs={"big.dat"})
    hub.faults.add("cdn", f"reset:{EVERY}", times=40)
    desk("snapshot", "hf", "acme/tiny", "--read", "all")
    assert digest(desk, "hf://acme/tiny") == TRUTH


OTHER = Stored(bytes(len(DATA)), "other")


@pytest.mark.parametrize(
    ("faults", "problem"),
    [
        ([Cut(EVERY), IgnoreRange()], None),
        ([Cut(EVERY), IgnoreRange(), Cut(EVERY), IgnoreRange()], None),
        ([Cut(EVERY), WrongRange()], None),
        ([Cut(EVERY), WrongRange()] * 2, "changed-while-reading"),
        ([Cut(EVERY), Swap(OTHER)], "changed-while-reading"),
        ([Cut(EVERY), *[error(404, "NoSuchKey")] * 9], "changed-while-reading"),
    ],
    ids=["range ignored", "range ignored twice", "another range once", "another range", "replaced", "deleted"],
)  # fmt: skip
def test_after_a_cut_the_rest_is_of_the_same_object_or_the_file_is_a_problem(
    desk: Desk, faulty_s3: FaultServer, faults: list[Any], problem: str | None
) -> None:
    faulty_s3.put("p/big.dat", DATA)
    faulty_s3.put("p/small.dat", b"small")
    faulty_s3.faults["p/big.dat"].extend(faults)
    taken = desk.json("snapshot", "s3", MIRROR, code=3 if problem else 0)
    assert digest(desk, MIRROR, "small.dat") == hashlib.sha256(b"small").hexdigest()
    assert [one["code"] for one in taken["problems"]] == ([problem] if problem else [])
    assert digest(desk, MIRROR) == (None if problem else TRUTH)


def test_bytes_changed_on_a_resumed_way_are_found_by_the_stored_checksum(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    put_whole(faulty_s3, "p/big.dat", DATA, "CRC64NVME")
    stored = faulty_s3.objects["p/big.dat"]
    changed = stored._replace(data=DATA[:-1] + bytes([DATA[-1] ^ 1]))
    # The entity tag stays: no condition can see it, no checksum of a range covers it.
    faulty_s3.faults["p/big.dat"].extend([Cut(EVERY), Swap(changed)])
    taken = desk.json("snapshot", "s3", MIRROR, code=4)
    [problem] = taken["problems"]
    assert (problem["path"], problem["code"]) == ("big.dat", "digest-mismatch")
    assert "crc64nvme" in problem["what"]


class Keys:
    """A service whose old keys stop working after some requests."""

    def __init__(self, server: FaultServer, good_for: int) -> None:
        self.left = good_for
        for path in [*server.objects]:
            server.replies["GET", path] = self

    def __call__(self, seen: Seen) -> Reply | None:
        if "Credential=old/" not in seen.headers.get("authorization", ""):
            return None
        self.left -= 1
        return None if self.left >= 0 else error(400, "ExpiredToken", "The token has expired")


@pytest.fixture
def credentials(
    desk: Desk, faulty_s3: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """The file that AWS's chain reads keys from."""
    where = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(where))
    write_key(where, "old")
    return where


def write_key(where: Path, key: str) -> None:
    text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = x\n"
    new = where.with_name(f"{where.name}.{threading.get_ident()}")
    new.write_text(text)
    new.replace(where)


def test_credentials_that_expire_in_the_middle_are_taken_anew(
    desk: Desk, faulty_s3: FaultServer, credentials: Path
) -> None:
    for number in range(20):
        faulty_s3.put(f"p/{number:02}.dat", b"%d" % number * 5000)
    faulty_s3.put("p/big.dat", DATA)
    faulty_s3.faults["p/big.dat"].extend([Reset(EVERY)] * 3)
    keys = Keys(faulty_s3, 10)

    def renew(seen: Seen) -> Reply | None:
        found = keys(seen)
        if found is not None:
            write_key(credentials, "new")
        return found

    for path in [*faulty_s3.objects]:
        faulty_s3.replies["GET", path] = renew
    taken = desk.json("snapshot", "s3", MIRROR)
    assert taken["evidence"]["measured"] == 21
    assert digest(desk, MIRROR) == TRUTH
    assert keys.left < 0


def test_credentials_that_stay_expired_end_the_run_which_goes_on_after_a_login(
    desk: Desk, faulty_s3: FaultServer, credentials: Path
) -> None:
    for number in range(20):
        faulty_s3.put(f"p/{number:02}.dat", b"%d" % number * 5000)
    Keys(faulty_s3, 10)
    taken = desk.json("snapshot", "s3", MIRROR, "--jobs", "1", code=3)
    assert taken["evidence"]["measured"] == 10
    problems = [one for one in taken["problems"] if one["code"] != "left-out"]
    assert {one["code"] for one in problems} == {"access-denied"}
    assert "expired" in problems[0]["what"]
    write_key(credentials, "new")
    sent = faulty_s3.sent
    taken = desk.json("snapshot", "s3", MIRROR)
    assert (taken["complete"], taken["evidence"]["reused"]) == (True, 10)
    assert faulty_s3.sent - sent == sum(len(b"%d" % n * 5000) for n in range(10, 20))


def test_killed_and_started_again_nothing_measured_is_read_twice(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    for number in range(6):
        faulty_s3.put(f"p/{number}.dat", bytes([number]) * 2_000_000)
    hang = Reply(status=200, headers={"Content-Length": "2000000"})

    def slow(seen: Seen) -> Reply | None:
        # Time passes, so that what was measured before is journaled; then nothing comes.
        time.sleep(1.1)
        return None if seen.key == "p/4.dat" else hang

    faulty_s3.replies["GET", "p/4.dat"] = slow
    faulty_s3.replies["GET", "p/5.dat"] = slow
    running = subprocess.Popen(
        [sys.executable, "-m", "manifestd", "snapshot", "s3", MIRROR, "--jobs", "1"],
        cwd=desk.folder, env=dict(os.environ), stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while faulty_s3.count("GET", "p/5.dat") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.5)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    read = {f"p/{number}.dat": faulty_s3.count("GET", f"p/{number}.dat") for number in range(6)}
    assert read["p/0.dat"] == read["p/4.dat"] == 1
    faulty_s3.replies.clear()
    ran = desk("snapshot", "s3", MIRROR, "--jobs", "1")
    assert "5 files were taken over from an interrupted run" in ran.err
    again = {path: faulty_s3.count("GET", path) - count for path, count in read.items()}
    assert again == {**dict.fromkeys(read, 0), "p/5.dat": 1}
    assert desk.json("show", MIRROR)["evidence"]["measured"] == 6
