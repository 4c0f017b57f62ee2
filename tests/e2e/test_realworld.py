"""What the command says of real repositories, held against what is known to be true of them."""

from __future__ import annotations

import json
import re

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.s3 import LoopbackS3
from tests.e2e.desk import Desk, verdicts
from tests.e2e.meaning import both, compared, file_of, shown
from tests.support.realworld import real_tree

pytestmark = pytest.mark.realdata

POINTERS = [
    "metal/model.bin", "model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors", "original/model.safetensors", "tokenizer.json",
]  # fmt: skip


def without_pointers(files: dict[str, bytes]) -> dict[str, bytes]:
    return {
        path: data for path, data in files.items() if not data.startswith(b"version https://git")
    }


def test_two_revisions_of_a_real_model_read_like_release_notes(desk: Desk) -> None:
    old, new = (real_tree(f"gpt-oss-20b/{revision}") for revision in ("f81fef1", "cbf31f6"))
    both(desk, old, new, code=3)
    text = shown(desk)
    first = text[text.index("What matters first:") : text.index("VERDICT")]
    assert "  1. chat_template.jinja: 23 passages changed, the first at lines 87-88 (pro" in first
    assert "  2. chat_template.json: missing on the right (16.0 KiB): prompts are rendered" in first
    assert '  3. README.md: /pipeline_tag: added "text-generation"; /library_name: added' in first
    assert "lines 5-165: 161 lines added (documentation)" in first
    assert '    /tags: added ["vllm"]\n    lines 5-165: 161 lines added\n' in text
    document = compared(desk, code=1)
    assert verdicts(document) == {
        "LICENSE": "rightOnly",
        "README.md": "different",
        "USAGE_POLICY": "rightOnly",
        "chat_template.jinja": "different",
        "chat_template.json": "leftOnly",
        **dict.fromkeys(POINTERS, "unverifiable"),
    }
    assert document["weights"].get("equal") is None
    for path in POINTERS:
        reason = file_of(document, path)["reason"]
        assert reason.startswith("both sides are Git LFS pointers, to the same content")


def test_pointers_are_problems_that_name_the_content_and_never_weights(desk: Desk) -> None:
    desk.tree("gpt-oss", real_tree("gpt-oss-20b/cbf31f6"))
    document = desk.json("snapshot", "dir", "gpt-oss", code=3)
    assert (document["complete"], document["manifest"]) == (False, None)
    problems = {problem["path"]: problem for problem in document["problems"]}
    assert sorted(problems) == sorted(POINTERS)
    assert {problem["code"] for problem in problems.values()} == {"lfs-pointer"}
    assert (
        "16d0f997dcfc4462089d536bffe51b4bcea2f872f5c430be09ef8ed392312427, 4792272488 bytes"
        in (problems["model-00000-of-00002.safetensors"]["what"])
    )


def test_a_bucket_of_pointers_is_told_from_the_content_that_they_name(
    desk: Desk, s3: LoopbackS3
) -> None:
    files = real_tree("granite-docling-258M")
    desk.tree("granite", files)
    desk("-q", "snapshot", "dir", "granite", code=3)
    s3.put("realworld", files, "granite/")
    desk("-q", "snapshot", "s3", "s3://realworld/granite/")
    document = desk.json(
        "diff", f"file://{desk.folder}/granite", "s3://realworld/granite/", code=None
    )
    weights = file_of(document, "model.safetensors")
    assert weights["verdict"] == "unverifiable"
    assert weights["reason"] == "both sides are Git LFS pointers, to the same content"


def test_hub_and_bucket_hold_the_same_real_tree(
    desk: Desk, hub: LoopbackHub, s3: LoopbackS3
) -> None:
    files = {
        **without_pointers(real_tree("DistilBERT-base-jp")),
        **real_tree("silero-vad"),
        **{f"lpips/{path}": data for path, data in real_tree("lpips").items()},
    }
    hub.add_repo("real/mixed", files)
    s3.put("realworld", files, "mixed/")
    desk("-q", "snapshot", "hf", "real/mixed")
    desk("-q", "snapshot", "s3", "s3://realworld/mixed/")
    document = desk.json("diff", "hf://real/mixed", "s3://realworld/mixed/")
    assert (document["verdict"], document["counts"]["identical"]) == ("identical", len(files))


def test_names_equal_but_for_case_are_twins_and_odd_shard_numbers_frighten_nobody(
    desk: Desk,
) -> None:
    for name in ("safetensors-samples", "gpt-oss-20b/cbf31f6"):
        desk.tree(name, real_tree(name))
        desk("-q", "snapshot", "dir", name, code=None)
    told = desk("lint", code=1).out
    assert re.findall(r"samples (\w).safetensors: 2 names", told) == ["B", "H", "I"]
    assert "shards are numbered 0 to 2 (3 files) of 2; expected 1 to 2" in told
    assert "loaders that go by the index take all of them" in told
    assert "take half" not in told


def test_old_torch_files_were_looked_into_although_bytes_compare_them(desk: Desk) -> None:
    desk.tree("lpips", real_tree("lpips"))
    desk("-q", "snapshot", "dir", "lpips")
    assert "security" not in desk("policy", "check", "lpips").out


def test_one_byte_of_one_real_tensor_one_setting_and_one_token_are_named(desk: Desk) -> None:
    files = {
        **without_pointers(real_tree("granite-docling-258M")),
        **real_tree("silero-vad"),
        "vocab.txt": real_tree("DistilBERT-base-jp")["vocab.txt"],
    }
    name = "silero_vad_16k.safetensors"
    weights = bytearray(files[name])
    weights[-1] ^= 1
    config = json.loads(files["config.json"])
    config["text_config"]["vocab_size"] += 1
    lines = files["vocab.txt"].split(b"\n")
    lines[1000], lines[1001] = lines[1001], lines[1000]
    changed = {
        name: bytes(weights),
        "config.json": json.dumps(config).encode(),
        "generation_config.json": json.dumps(
            dict(reversed(json.loads(files["generation_config.json"]).items()))
        ).encode(),
        "vocab.txt": b"\n".join(lines),
        "chat_template.jinja": files["chat_template.jinja"] + b"\n",
        "README.md": files["README.md"].replace(b"license: apache-2.0", b"license: other"),
    }
    both(desk, files, {**files, **changed})
    document = compared(desk, code=1)
    assert verdicts(document) == {
        **dict.fromkeys(changed, "different"),
        "generation_config.json": "equivalent",
    }
    assert len(file_of(document, name)["tensors"]["changed"]) == 1
    assert [one["at"] for one in file_of(document, "config.json")["changes"]] == [
        "/text_config/vocab_size"
    ]
    assert "2" in file_of(document, "vocab.txt")["summary"]
    assert file_of(document, "chat_template.jinja")["summary"].startswith("only the final newline")
    assert file_of(document, "README.md")["impact"] == "metadata"
    impacts = {
        file["path"]: file["impact"] for file in document["files"] if file["path"] in changed
    }
    assert impacts.pop("generation_config.json") == "cosmetic"
    assert impacts.pop("README.md") == "metadata"
    assert set(impacts.values()) == {"behaviour"}
