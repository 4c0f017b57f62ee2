"""``verify --against``: is a place still what a stored snapshot says?"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import safetensors, tiny_model
from tests.e2e.desk import Desk
from tests.e2e.world import put_parts
from tests.support.s3_faults import FaultServer, error
from tests.support.schemas import check_document

MODEL = tiny_model("acme/tiny")
MIRROR = "s3://bucket/p/"
MIB = 1024 * 1024


def against(desk: Desk, reference: str, place: str, code: int) -> Any:
    ran = desk("verify", reference, "--against", place, "--format", "json", code=code)
    check_document("against", ran.out)
    assert ran.document["exitCode"] == code
    assert ran.document["verified"] == (code == 0)
    return ran.document


def verdicts(document: Any) -> dict[str, str]:
    return {file["path"]: file["verdict"] for file in document["files"]}


@pytest.fixture
def model(desk: Desk) -> Path:
    place = Path(desk.tree("model", MODEL))
    desk("snapshot", "dir", "model")
    return place


def test_the_same_bytes_verify_wherever_they_are(
    desk: Desk, model: Path, hub: LoopbackHub, faulty_s3: FaultServer
) -> None:
    hub.add_repo("acme/tiny", MODEL)
    for path, data in MODEL.items():
        faulty_s3.put(f"p/{path}", data)
    for place in ("model", "hf://acme/tiny", "s3://bucket/p"):
        found = against(desk, "model", place, 0)
        assert found["counts"]["identical"] == len(MODEL)
        assert found["files"] == found["problems"] == []
        assert found["bytesRead"] == sum(map(len, MODEL.values()))
    assert "the same: s3://bucket/p/" in desk("verify", "model", "--against", MIRROR).out


def test_what_is_other_missing_and_extra_is_named(desk: Desk, model: Path) -> None:
    (model / "config.json").write_bytes(b"{}")
    (model / "LICENSE").unlink()
    (model / "backdoor.py").write_bytes(b"import os")
    found = against(desk, "model", str(model), 1)
    assert verdicts(found) == {
        "config.json": "different", "LICENSE": "leftOnly", "backdoor.py": "rightOnly",
    }  # fmt: skip
    shown = desk("verify", "model", "--against", str(model), code=1).out
    assert "DIFFERS: file://" in shown
    assert "missing    LICENSE" in shown
    assert "extra      backdoor.py" in shown


def test_damage_is_located_to_a_piece_and_a_tensor(desk: Desk, faulty_s3: FaultServer) -> None:
    tensors = {
        f"h.{number}": ("U8", [40 * MIB], bytes([number]) * (40 * MIB)) for number in range(4)
    }
    data = safetensors(tensors)
    faulty_s3.put("p/model.safetensors", data)
    desk("snapshot", "s3", MIRROR)
    place = Path(desk.tree("model", {"model.safetensors": data}))
    with (place / "model.safetensors").open("r+b") as file:
        file.seek(struct.unpack("<Q", data[:8])[0] + 8 + 90 * MIB)
        file.write(b"!")
    found = against(desk, MIRROR, str(place), 1)
    [changed] = found["files"]
    assert changed["basis"] == {"algorithm": "blake3", "left": "measured", "right": "measured"}
    assert changed["changes"] == [
        {
            "at": "bytes 67108864-134217727",
            "what": "the difference lies within these 67108864 bytes, in h.2",
        }
    ]


def test_bytes_that_change_under_an_unchanged_object_are_corruption(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    data = hashlib.shake_128(b"x").digest(3 * MIB)
    faulty_s3.put("p/big.dat", data)
    faulty_s3.put("p/small.dat", b"small")
    desk("snapshot", "s3", MIRROR)
    stored = faulty_s3.objects["p/big.dat"]
    faulty_s3.objects["p/big.dat"] = stored._replace(data=data[:-1] + b"!")
    found = against(desk, MIRROR, MIRROR, 4)
    assert verdicts(found) == {"big.dat": "different"}
    [problem] = found["problems"]
    assert (problem["code"], problem["severity"]) == ("digest-mismatch", "mismatch")
    assert "CORRUPT" in desk("verify", MIRROR, "--against", MIRROR, code=4).out


def test_a_hub_whose_store_serves_other_bytes_contradicts_itself(
    desk: Desk, hub: LoopbackHub, model: Path
) -> None:
    weights = MODEL["model.safetensors"]
    hub.add_repo("acme/tiny", MODEL, served={"model.safetensors": weights[:-1] + b"!"})
    found = against(desk, "model", "hf://acme/tiny", 4)
    assert verdicts(found) == {"model.safetensors": "different"}
    assert "says" in found["problems"][0]["what"]


def test_a_place_that_cannot_be_read_leaves_it_undecided(
    desk: Desk, model: Path, faulty_s3: FaultServer
) -> None:
    for path, data in MODEL.items():
        faulty_s3.put(f"p/{path}", data)
    faulty_s3.replies["GET", "p/config.json"] = lambda _: error(403, "AccessDenied")
    found = against(desk, "model", MIRROR, 3)
    assert verdicts(found) == {"config.json": "unverifiable"}
    assert found["counts"]["identical"] == len(MODEL) - 1
    assert "UNDECIDED" in desk("verify", "model", "--against", MIRROR, code=3).out
    desk("verify", "model", "--against", "s3://bucket/nothing/", code=3)
    desk("verify", "model", "--against", "missing", code=3)


@pytest.mark.parametrize("changed", [False, True])
def test_an_upload_known_by_its_parts_alone_is_compared_by_its_parts(
    desk: Desk, faulty_s3: FaultServer, changed: bool
) -> None:
    data = hashlib.shake_128(b"y").digest(5 * MIB + 17)
    put_parts(faulty_s3, "p/big.dat", data, 2 * MIB)
    desk("snapshot", "s3", MIRROR, "--read", "none", code=3)
    found = data[: 3 * MIB] + b"!" + data[3 * MIB + 1 :] if changed else data
    place = desk.tree("copy", {"big.dat": found})
    document = against(desk, MIRROR, place, 1 if changed else 0)
    if changed:
        [file] = document["files"]
        assert file["changes"][0]["at"] == f"bytes {2 * MIB}-{4 * MIB - 1}"
    assert faulty_s3.sent == 0


def test_what_was_left_out_of_the_snapshot_is_left_out_here(desk: Desk) -> None:
    place = desk.tree("model", {"a.dat": b"a", "notes.txt": b"x"})
    desk("snapshot", "dir", "model", "--ignore", "*.txt")
    Path(place, "notes.txt").write_bytes(b"other")
    against(desk, "model", place, 0)


def test_a_stored_snapshot_that_does_not_verify_proves_nothing(desk: Desk, model: Path) -> None:
    unsigned = desk.json("snapshot", "dir", "model", "--no-sign")["snapshot"]
    found = against(desk, unsigned, str(model), 4)
    assert found["read"]
    assert found["stored"]["signature"] == "unsigned"
    with sqlite3.connect(desk.store) as connection:
        connection.execute("UPDATE blob SET data = zeroblob(length(data)) WHERE kind = 'leaf'")
    connection.close()
    found = against(desk, unsigned, str(model), 4)
    assert not found["read"]
    assert "NOT READ" in desk("verify", unsigned, "--against", str(model), code=4).out


def test_one_snapshot_is_compared_with_one_place(desk: Desk, model: Path) -> None:
    desk("verify", "model", "model", "--against", "model", code=2)
    assert against(desk, "nowhere-to-be-found", "model", 3)["read"] is False
