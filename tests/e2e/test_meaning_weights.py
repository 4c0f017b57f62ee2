"""What changed in weights: tensors by name, whatever file they stand in, from the store alone."""

from __future__ import annotations

import json
import struct
from typing import Any

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import pseudo_random, safetensors, tiny_model
from tests.e2e.desk import Desk, verdicts
from tests.e2e.meaning import both, compared, dumped, file_of, shown
from tests.support.schemas import check_document

MODEL = tiny_model("acme/tiny")
T = {f"h.{number}.weight": ("F16", [4, 4], pseudo_random(str(number), 32)) for number in range(6)}
OTHER = ("F16", [4, 4], bytes(32))
INDEX = "model.safetensors.index.json"


def sharded(count: int, tensors: dict[str, Any] = T) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    places: dict[str, str] = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = dict(list(tensors.items())[number::count])
        files[name] = safetensors(part, format="pt")
        places |= dict.fromkeys(part, name)
    files[INDEX] = dumped({"metadata": {"total_size": 192}, "weight_map": places})
    return files


def one_file(tensors: dict[str, Any] = T) -> dict[str, bytes]:
    return {"model.safetensors": safetensors(tensors, format="pt")}


def tensors_told(tensors: dict[str, Any]) -> dict[str, Any]:
    """What a document says of tensors, without what is the same and what there is none of."""
    return {key: value for key, value in tensors.items() if value not in (0, [], "same")}


def test_one_changed_tensor_in_one_of_several_shards_is_named(desk: Desk) -> None:
    both(desk, sharded(3), sharded(3, {**T, "h.4.weight": OTHER}))
    document = compared(desk, code=1)
    [file] = [file for file in document["files"] if file["verdict"] != "identical"]
    assert file["path"] == "model-00002-of-00003.safetensors"
    assert tensors_told(file["tensors"]) == {"same": 1, "changed": ["h.4.weight"]}
    assert document["weights"]["equal"] is False
    assert "1. model-00002-of-00003.safetensors: 1 of 2 tensors changed (h.4.weight)" in shown(desk)


def test_the_same_weights_in_one_and_in_three_files_are_equal_weights(desk: Desk) -> None:
    both(desk, one_file(), sharded(3))
    document = compared(desk, code=1)
    weights = document["weights"]
    assert weights["equal"] is True
    assert weights["left"] == weights["right"]
    assert tensors_told(weights["tensors"]) == {"same": 6}
    told = "the same 6 tensors in other files (1 file on the left, 3 on the right)"
    assert weights["summary"] == told
    assert {file["impact"] for file in document["files"]} == {"metadata"}
    assert f"  1. weights: {told}\n" in shown(desk)
    assert compared(desk, "--min-impact", "behaviour", code=0)["result"] == "pass"


def test_a_changed_tensor_is_named_when_the_weights_were_cut_anew(desk: Desk) -> None:
    changed = {**T, "h.4.weight": ("BF16", [4, 4], T["h.4.weight"][2])}
    both(desk, one_file(), sharded(3, changed))
    document = compared(desk, "--min-impact", "behaviour", code=1)
    weights = document["weights"]
    assert weights["equal"] is False
    assert tensors_told(weights["tensors"]) == {"same": 5, "changed": ["h.4.weight"]}
    assert weights["changes"][0]["what"] == "dtype changed"
    assert file_of(document, "model.safetensors")["impact"] == "behaviour"
    text = shown(desk)
    assert "1. weights: 1 of 6 tensors changed (h.4.weight); they stand in other files" in text
    assert "F16 [4, 4]" in text
    assert "BF16 [4, 4]" in text
    assert "its 2 tensors stand unchanged in other files on the left" in text


def test_cut_anew_with_an_index_that_does_not_hold_is_behaviour(desk: Desk) -> None:
    broken = sharded(3)
    index = json.loads(broken[INDEX])
    del index["weight_map"]["h.0.weight"]
    both(desk, one_file(), {**broken, INDEX: dumped(index)})
    document = compared(desk, "--min-impact", "behaviour", code=1)
    assert document["weights"]["equal"] is True
    assert file_of(document, INDEX)["impact"] == "behaviour"
    assert "shard-tensor-unlisted" in {finding["rule"] for finding in document["findings"]}


def test_shards_that_an_index_misses_or_misnumbers_are_findings(desk: Desk) -> None:
    whole = sharded(3)
    lacking = {path: data for path, data in whole.items() if "00002" not in path}
    both(desk, whole, lacking)
    rules = {(one["rule"], one.get("side")) for one in compared(desk, code=1)["findings"]}
    assert ("shard-missing", "right") in rules
    zero = {
        "model-00000-of-00002.safetensors": safetensors({"a": OTHER}),
        "model-00001-of-00002.safetensors": safetensors({"b": OTHER}),
        "model-00002-of-00002.safetensors": safetensors({"c": OTHER}),
    }
    places = dict(zip("abc", zero, strict=True))
    both(desk, whole, {**zero, INDEX: dumped({"weight_map": places})})
    text = shown(desk)
    assert "shards are numbered 0 to 2 (3 files) of 2; expected 1 to 2 (on the right)" in text


def spelled(tensors: dict[str, Any], padding: int) -> bytes:
    """The same tensors, the header's entries turned around and padded."""
    plain = safetensors(tensors, format="pt")
    length = int.from_bytes(plain[:8], "little")
    header = dict(reversed(json.loads(plain[8 : 8 + length]).items()))
    text = dumped(header, indent=1) + b" " * padding
    return struct.pack("<Q", len(text)) + text + plain[8 + length :]


def test_safetensors_are_compared_by_their_tensors_and_metadata(desk: Desk) -> None:
    left = dict.fromkeys(
        ("header.safetensors", "noted.safetensors"), one_file()["model.safetensors"]
    )
    right = {
        "header.safetensors": spelled(T, 24),
        "noted.safetensors": safetensors(T, format="pt", note="x"),
    }
    both(desk, left, right)
    document = compared(desk, code=1)
    assert verdicts(document) == {
        "header.safetensors": "equivalent",
        "noted.safetensors": "different",
    }
    noted = file_of(document, "noted.safetensors")
    assert (noted["summary"], noted["impact"]) == (
        "tensors identical, metadata changed",
        "metadata",
    )
    assert tensors_told(noted["tensors"]) == {"same": 6, "metadata": "changed"}
    assert document["weights"]["equal"] is True


def headed(header: str, size: int) -> bytes:
    text = header.encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


ENTRY = '"%s": {"dtype": "U8", "shape": [4], "data_offsets": [%d, %d]}'
REFUSED = {
    "twice.safetensors": headed(f"{{{ENTRY % ('a', 0, 4)}, {ENTRY % ('a', 0, 4)}}}", 4),
    "overlap.safetensors": headed(f"{{{ENTRY % ('a', 0, 4)}, {ENTRY % ('b', 2, 6)}}}", 6),
    "hole.safetensors": headed(f"{{{ENTRY % ('a', 0, 4)}, {ENTRY % ('b', 6, 10)}}}", 10),
    "trailing.safetensors": headed(f"{{{ENTRY % ('a', 0, 4)}}}", 9),
}


def test_safetensors_outside_the_specification_are_compared_by_bytes_only(desk: Desk) -> None:
    both(desk, REFUSED, {path: data[:-1] + b"x" for path, data in REFUSED.items()})
    for row in desk.json("list")["snapshots"]:
        assert row["complete"]
    document = compared(desk, code=1)
    assert set(verdicts(document).values()) == {"different"}
    for file in document["files"]:
        assert "left not read as safetensors: " in file["summary"], file
        assert "tensors" not in file
    whys = " ".join(file["summary"] for file in document["files"])
    for why in ("a hole before", "an overlap at", "bytes after the last tensor", "twice"):
        assert why in whys


def test_headers_that_were_read_by_range_leave_values_unknown_and_say_so(
    desk: Desk, hub: LoopbackHub
) -> None:
    left = {**MODEL, "a.safetensors": one_file()["model.safetensors"]}
    hub.add_repo("acme/tiny", left, lfs={"a.safetensors", "model.safetensors"})
    taken = desk.json("snapshot", "hf", "acme/tiny")
    assert taken["evidence"]["declared"] == 2
    weights = bytearray(MODEL["model.safetensors"])
    weights[-1] ^= 1
    right = desk.tree("right", {**left, "model.safetensors": bytes(weights)})
    desk("-q", "snapshot", "dir", right)
    document = desk.json("diff", "hf://acme/tiny", right, code=1)
    check_document("diff", document)
    # An identical file is identical although the right side knows its tensors and the left does not.
    assert verdicts(document) == {"model.safetensors": "different"}
    file = file_of(document, "model.safetensors")
    assert (tensors_told(file["tensors"]), file["impact"]) == ({"unknown": 7}, "behaviour")
    assert "the same header; the values of at least one of 7 tensors changed" in file["summary"]
    assert document["weights"]["equal"] is None
    assert "--read all" in file["hint"]
    desk("-q", "snapshot", "hf", "acme/tiny", "--read", "all")
    document = desk.json("diff", "hf://acme/tiny", right, code=1)
    assert len(file_of(document, "model.safetensors")["tensors"]["changed"]) == 1
    assert document["weights"]["equal"] is False
