"""The main job, as its user types it: both sides recorded, signed, compared."""

from __future__ import annotations

import hashlib
import json

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import drifted, safetensors, tiny_model
from manifestd.loopback.s3 import LoopbackS3
from manifestd.store.check import check_store
from tests.e2e.desk import Desk, verdicts
from tests.support.s3_faults import FaultServer
from tests.support.schemas import check_document

MODEL = tiny_model("acme/tiny")
WEIGHTS = "model.safetensors"
HUB, MIRROR = "hf://acme/tiny", "s3://main-job/tiny/"


def flipped(data: bytes, at: int = -1000) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def put_mirror(s3: LoopbackS3, files: dict[str, bytes], place: str) -> str:
    """Fill a folder of the bucket; its reference."""
    s3.put("main-job", files, f"{place}/")
    return f"s3://main-job/{place}/"


def test_the_same_files_have_the_same_manifest_wherever_they_lie(
    desk: Desk, hub: LoopbackHub, s3: LoopbackS3
) -> None:
    commit = hub.add_repo("acme/tiny", MODEL)
    mirror = put_mirror(s3, MODEL, "same")
    taken = [
        desk.json("snapshot", "hf", "acme/tiny"),
        desk.json("snapshot", "s3", mirror),
        desk.json("snapshot", "dir", desk.tree("checkout", MODEL)),
    ]
    for result in taken:
        check_document("snapshot-result", result)
        assert result["complete"]
        assert result["signedBy"]
        assert result["files"] == len(MODEL)
        assert result["bytes"] == sum(map(len, MODEL.values()))
    assert len({result["manifest"] for result in taken}) == 1
    assert len({result["snapshot"] for result in taken}) == 3
    assert taken[0]["revision"] == commit
    assert taken[0]["evidence"] == {
        "measured": len(MODEL) - 1, "reused": 0, "stored": 0, "declared": 1, "none": 0,
    }  # fmt: skip
    for right in (mirror, "checkout"):
        document = desk.json("diff", HUB, right)
        check_document("diff", document)
        assert (document["verdict"], document["result"]) == ("identical", "pass")
        assert verdicts(document) == {}
        assert document["left"]["signature"] == document["right"]["signature"] == "verified"
    text = desk("diff", HUB, mirror).out
    assert text.startswith(f"PASS  identical: {len(MODEL)} files are identical\n")
    assert check_store(desk.store) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({WEIGHTS: flipped(MODEL[WEIGHTS])}, {WEIGHTS: "different"}),
        ({"LICENSE": flipped(MODEL["LICENSE"], 3)}, {"LICENSE": "different"}),
        ({"config.json": None}, {"config.json": "leftOnly"}),
        ({WEIGHTS: None}, {WEIGHTS: "leftOnly"}),
        ({"extra/notes.txt": b"new"}, {"extra/notes.txt": "rightOnly"}),
        (
            {"onnx/config.json": None, "export/onnx.json": MODEL["onnx/config.json"]},
            {"export/onnx.json": "moved"},
        ),
        (
            {"config.json": b"{}\n", "LICENSE": None, "NOTICE": b"n", WEIGHTS: MODEL[WEIGHTS][:-1]},
            {"config.json": "different", "LICENSE": "leftOnly", "NOTICE": "rightOnly",
             WEIGHTS: "different"},
        ),
    ],
    ids=["a weight byte", "a licence byte", "config missing", "weights missing", "a file extra",
         "a file moved", "several at once"],
)  # fmt: skip
def test_a_mirror_that_differs_shows_exactly_the_files_that_differ(
    *,
    desk: Desk,
    hub: LoopbackHub,
    s3: LoopbackS3,
    request: pytest.FixtureRequest,
    changes: dict[str, bytes | None],
    expected: dict[str, str],
) -> None:
    hub.add_repo("acme/tiny", MODEL)
    files = {path: data for path, data in {**MODEL, **changes}.items() if data is not None}
    mirror = put_mirror(s3, files, f"differs/{request.node.callspec.id}")
    desk("snapshot", "hf", "acme/tiny")
    desk("snapshot", "s3", mirror)
    document = desk.json("diff", HUB, mirror, code=1)
    check_document("diff", document)
    assert verdicts(document) == expected
    assert document["result"] == "fail"
    assert sum(document["counts"].values()) == len(document["files"])
    text = desk("diff", HUB, mirror, code=1).out
    assert text.startswith("FAIL  ")
    for path in set(changes) & set(expected):
        assert path in text


def test_the_demos_bad_day_is_found_in_full(desk: Desk) -> None:
    left, right = desk.tree("good", MODEL), desk.tree("bad", drifted(MODEL))
    desk("snapshot", "dir", left)
    desk("snapshot", "dir", right)
    found = verdicts(desk.json("diff", left, right, code=1))
    assert found == {
        "config.json": "different",
        "generation_config.json": "leftOnly",
        WEIGHTS: "different",
    }


def test_read_missing_of_a_hub_repository_reads_no_weights_but_their_header(
    desk: Desk, hub: LoopbackHub
) -> None:
    opaque = bytes(3_000_000)
    large = safetensors({"w": ("U8", [9_000_000], bytes(9_000_000))})
    files = {**MODEL, WEIGHTS: large, "big.tar": opaque, "blob.dat": opaque[:-1]}
    hub.add_repo("acme/tiny", files, lfs=100_000)
    desk("snapshot", "hf", "acme/tiny", "--read", "none", code=3)
    assert hub.content_bytes() == 0
    result = desk.json("snapshot", "hf", "acme/tiny")
    assert hub.content_bytes(r"\.(tar|dat)$") == 0
    # Tensor names and shapes are wanted: the header and nothing behind it.
    assert hub.content_bytes(WEIGHTS) == 8 + int.from_bytes(large[:8], "little")
    assert result["complete"]
    assert result["evidence"]["declared"] == 3


def test_read_all_finds_weights_whose_bytes_are_not_what_was_declared(
    desk: Desk, hub: LoopbackHub
) -> None:
    rotten = flipped(MODEL[WEIGHTS])
    hub.add_repo("acme/tiny", MODEL, served={WEIGHTS: rotten})
    assert desk.json("snapshot", "hf", "acme/tiny")["complete"]
    result = desk.json("snapshot", "hf", "acme/tiny", "--read", "all", code=4)
    check_document("snapshot-result", result)
    [problem] = result["problems"]
    assert (problem["path"], problem["code"]) == (WEIGHTS, "digest-mismatch")
    text = desk("snapshot", "hf", "acme/tiny", "--read", "all", "--fresh", code=4)
    assert f"MISMATCH: {WEIGHTS}" in text.err
    # What is recorded is what the bytes are, not what was said of them.
    files = {file["path"]: file for file in desk.json("files", HUB)["files"]}
    assert files[WEIGHTS]["digests"]["sha256"] == hashlib.sha256(rotten).hexdigest()


def test_a_file_that_cannot_be_had_leaves_an_incomplete_snapshot_of_the_others(
    desk: Desk, hub: LoopbackHub
) -> None:
    hub.add_repo("acme/tiny", MODEL)
    hub.lose_object("acme/tiny", WEIGHTS)
    result = desk.json("snapshot", "hf", "acme/tiny", "--read", "all", code=3)
    check_document("snapshot-result", result)
    assert not result["complete"]
    assert [problem["path"] for problem in result["problems"]] == [WEIGHTS]
    desk("snapshot", "dir", desk.tree("copy", MODEL))
    found = verdicts(desk.json("diff", HUB, "copy", code=None))
    assert set(found) <= {WEIGHTS}


def test_an_unsigned_snapshot_is_said_to_be_so_and_never_verifies(desk: Desk) -> None:
    place = desk.tree("a", MODEL)
    result = desk.json("snapshot", "dir", place, "--no-sign")
    assert result["signedBy"] == []
    assert desk.json("verify", place, code=4)["snapshots"][0]["signature"] == "unsigned"
    document = desk.json("diff", place, place)
    assert document["left"]["signature"] == "unsigned"
    assert desk("diff", place, place, "--require-signature", code=4)


def test_a_snapshot_without_a_configured_key_is_unsigned_with_a_warning(desk: Desk) -> None:
    place = desk.tree("a", MODEL)
    (desk.folder / "manifestd.toml").write_text("")
    ran = desk("snapshot", "dir", place)
    assert "unsigned" in ran.err
    assert "nobody (unsigned)" in ran.out


NFC, NFD = "caf\u00e9.txt", "cafe\u0301.txt"
ODD = [
    "x" * (1024 - len("p/")),
    "../up.txt",
    "a/../b.txt",
    "double//slash.txt",
    "./here.txt",
    NFC,
    NFD,
    "Config.json",
    "config.json",
    "CONFIG.JSON",
    "red\x1b[31m.bin",
    "line\nbreak.txt",
    "right\u202eto-left.txt",
    "back\\slash.txt",
    "space at the end ",
    "%2e%2e/percent.txt",
    "plus+and&and=.txt",
]


def test_odd_keys_are_kept_literally_and_shown_escaped(desk: Desk, faulty_s3: FaultServer) -> None:
    for number, key in enumerate(ODD):
        faulty_s3.put(f"p/{key}", b"content %d" % number)
    result = desk.json("snapshot", "s3", "s3://bucket/p/")
    assert result["complete"], result["problems"]
    listed = desk.json("files", "s3://bucket/p/")
    check_document("files", listed)
    assert [file["path"] for file in listed["files"]] == sorted(ODD, key=str.encode)
    digests = {file["path"]: file["digests"]["sha256"] for file in listed["files"]}
    for number, key in enumerate(ODD):
        assert digests[key] == hashlib.sha256(b"content %d" % number).hexdigest()
    for key in ODD:
        faulty_s3.put(f"q/{key}", b"other")
    desk("snapshot", "s3", "s3://bucket/q/")
    document = desk.json("diff", "s3://bucket/p/", "s3://bucket/q/", code=1)
    assert verdicts(document) == dict.fromkeys(ODD, "different")
    shown = [
        desk("files", "s3://bucket/p/").out,
        desk("diff", "s3://bucket/p/", "s3://bucket/q/", code=1).out,
        desk("whereis", f"sha256:{digests[ODD[10]]}").out,
    ]
    for text in shown:
        assert not {"\x1b", "\u202e", "\r"} & set(text)
        assert "red\\x1b[31m.bin" in text
    for text in shown[:2]:
        assert "line\\x0abreak.txt" in text or "line\\nbreak.txt" in text
        assert "right\\u202eto-left.txt" in text
        assert NFC in text
        assert "cafe\\u0301.txt" in text


def test_an_error_with_format_json_is_one_document_on_stdout(desk: Desk, hub: LoopbackHub) -> None:
    ran = desk("snapshot", "hf", "acme/nothing", "--format", "json", code=3)
    check_document("error", ran.document)
    assert ran.document["code"] == "source-not-found"
    ran = desk("diff", "sha256:" + "0" * 64, HUB, "--format", "json", code=3)
    assert json.loads(ran.out)["code"] == "not-stored"


def test_an_unchanged_place_is_not_read_again(desk: Desk, hub: LoopbackHub) -> None:
    hub.add_repo("acme/tiny", MODEL)
    first = desk.json("snapshot", "hf", "acme/tiny")
    hub.forget_requests()
    second = desk.json("snapshot", "hf", "acme/tiny")
    assert hub.content_bytes() == 0
    assert second["bytesRead"] == 0
    assert second["manifest"] == first["manifest"]
    assert second["evidence"]["reused"] == first["evidence"]["measured"]
