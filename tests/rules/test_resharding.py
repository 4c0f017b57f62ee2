"""Weights cut into other files: matched by folder, format and name, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec

from manifestd.model.change import Change, FileDiff, TensorDiff
from manifestd.rules.resharding import SAME_TENSORS, regrouped, retold
from manifestd.rules.tensors import compare_tensors, merged


def facts(
    *names: str, format_: str = "safetensors/1", algorithm: str | None = "blake3", **more: Any
) -> dict[str, Any]:
    tensors: list[dict[str, Any]] = [{"name": name, "dtype": "F16", "shape": [2]} for name in names]
    found: dict[str, Any] = {"format": format_, "tensors": tensors}
    if algorithm is not None:
        found["digestAlgorithm"] = algorithm
        for tensor in tensors:
            tensor["digest"] = f"{tensor['name']} by {algorithm}"
    return {**found, **more}


def test_tensors_in_the_same_files_are_no_news() -> None:
    one = {"a.safetensors": facts("x", "y")}
    assert regrouped(one, one) is None
    assert regrouped(one, {"a.safetensors": facts("x")}) is None
    assert regrouped(one, {"b.safetensors": facts("z")}) is None


def test_folders_are_kept_apart() -> None:
    left = {"unet/m.safetensors": facts("w", "v"), "vae/m.safetensors": facts("w")}
    right = {
        "unet/m-1.safetensors": facts("w"),
        "unet/m-2.safetensors": facts("v"),
        "vae/m.safetensors": facts("w"),
    }
    found = regrouped(left, right)
    assert found is not None
    assert found.summary == (
        "unet/: the same 2 tensors in other files (1 file on the left, 2 on the right)"
    )
    assert found.folders == {"unet"}
    assert "vae/m.safetensors" not in found.files


def test_a_tensor_that_changed_in_a_folder_is_named_with_it() -> None:
    changed = facts("v")
    changed["tensors"][0]["digest"] = "other"
    left = {"unet/m.safetensors": facts("w", "v")}
    found = regrouped(left, {"unet/1.safetensors": facts("w"), "unet/2.safetensors": changed})
    assert found is not None
    assert found.tensors == TensorDiff(same=1, changed=["unet/v"])
    assert not found.harmless
    assert found.files["unet/m.safetensors"] == (
        "1 of its 2 tensors stands unchanged in other files on the right"
    )


def test_formats_are_kept_apart() -> None:
    pickle = facts("x", format_="torchzip/1")
    both = {"m.safetensors": facts("x"), "m.bin": pickle}
    assert regrouped(both, {"m.bin": pickle}) is None


def test_a_name_in_several_files_leaves_the_question_open() -> None:
    left = {"a.safetensors": facts("x", "y")}
    assert regrouped(left, {"b.safetensors": facts("x"), "c.safetensors": facts("x", "y")}) is None


def test_files_without_a_reader_are_no_tensors() -> None:
    opaque = {"format": "file/1", "digestAlgorithm": "sha256",
              "tensors": [{"name": "", "dtype": "file", "shape": [], "digest": "0"}]}  # fmt: skip
    assert regrouped({"a.onnx": opaque}, {"b.onnx": opaque}) is None


def test_other_metadata_is_said_and_is_not_harmless() -> None:
    left = {"a.safetensors": facts("x", "y", metadata=[["format", "pt"]])}
    right = {name: facts(name, metadata=[["format", "tf"]]) for name in ("x", "y")}
    found = regrouped(left, right)
    assert found is not None
    assert found.summary.endswith("; metadata changed")
    assert not found.harmless


def test_only_safetensors_are_harmless() -> None:
    left = {"a.bin": facts("x", "y", format_="torchzip/1")}
    found = regrouped(left, {name: facts(name, format_="torchzip/1") for name in ("x", "y")})
    assert found is not None
    assert found.tensors.same == 2
    assert not found.harmless


def test_values_that_were_not_read_stay_unknown() -> None:
    left = {"a.safetensors": facts("x", "y", algorithm=None)}
    found = regrouped(left, {name: facts(name) for name in ("x", "y")})
    assert found is not None
    assert found.tensors == TensorDiff(unknown=2)
    assert found.files["a.safetensors"] == "its 2 tensors stand in other files on the right"
    assert not found.harmless


def test_digests_of_several_algorithms_are_never_held_against_each_other() -> None:
    mixed = merged([facts("x"), facts("y", algorithm="sha256")])
    diff, changes = compare_tensors(mixed, merged([facts("y"), facts("x", algorithm="sha256")]))
    assert (diff, changes) == (TensorDiff(unknown=2), [])


def test_what_an_index_says_beside_its_shards_keeps_its_impact() -> None:
    found = regrouped(
        {"a.safetensors": facts("x", "y")}, {f"{name}.safetensors": facts(name) for name in "xy"}
    )
    assert found is not None
    moved = Change(at="/weight_map", what="2 tensors moved to other shards", impact="behaviour")
    index = FileDiff(
        path="m.safetensors.index.json", verdict="different", role="weights", impact="behaviour",
        changes=[moved],
    )  # fmt: skip
    told = retold(index, found)
    assert (told.impact, told.changes[0].reason) == ("metadata", SAME_TENSORS)
    other = Change(at="/unknown", right=1, impact="behaviour")
    for graver in (
        msgspec.structs.replace(index, changes=[moved, other]),
        msgspec.structs.replace(index, more_changes=1),
        msgspec.structs.replace(index, path="deep/m.safetensors.index.json"),
    ):
        assert retold(graver, found) == graver
