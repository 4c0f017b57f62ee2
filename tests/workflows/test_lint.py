"""Anomalies over the whole store: each kind is found, a healthy store is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifestd.cli.main import run
from manifestd.config import parse_config
from manifestd.loopback.models import safetensors
from manifestd.model.entry import Problem
from manifestd.model.finding import LintFinding
from manifestd.store import Store, open_store
from manifestd.workflows.lint import MAX_OF_ONE, distinct, folded, lint_store
from tests.support.schemas import check_document
from tests.workflows.stored import keep, listed_file

WEIGHTS = safetensors({"a": ("U8", [64], bytes(range(64)))})
SIDES = """
[defaults]
sides = { hub = "hf://{name}@main", mirror = "s3://models/{repo}/" }
[[model]]
name = "org/gpt"
"""


def found(store: Store, config: str = "", **options: bool) -> list[LintFinding]:
    parsed = parse_config(config.encode(), Path("manifestd.toml"))
    return lint_store(store, parsed, min_size=10, **options).findings


def index(**shards: str) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": shards}).encode()


def test_a_healthy_store_has_nothing_odd(store: Store) -> None:
    files = {
        "model-00001-of-00001.safetensors": WEIGHTS,
        "model.safetensors.index.json": index(a="model-00001-of-00001.safetensors"),
        "Readme.md": b"a", "data/README.md": b"b",
    }  # fmt: skip
    keep(store, files, source="hf://org/gpt", name="org/gpt")
    keep(store, files, source="s3://models/gpt/", name="gpt")
    assert found(store, SIDES) == []
    assert found(store) == []


def test_weights_under_two_names_are_found_once_for_each_group(store: Store) -> None:
    keep(
        store,
        {"a.safetensors": WEIGHTS, "x.bin": b"0123456789x"},
        source="hf://a/one",
        name="a/one",
    )
    keep(
        store,
        {"b.safetensors": WEIGHTS, "y.bin": b"0123456789x"},
        source="hf://b/two",
        name="b/two",
    )
    keep(store, {"c.txt": WEIGHTS, "z.bin": b"small"}, source="hf://c/three", name="c/three")
    keep(store, {"z.bin": b"small"}, source="hf://d/four", name="d/four")
    (finding,) = found(store)
    assert finding.rule == "one-digest-two-models"
    assert finding.facts["models"] == ["a/one", "b/two"]
    assert finding.facts["files"] == 2


def test_sides_of_one_configured_model_are_one_name(store: Store) -> None:
    keep(store, {"a.safetensors": WEIGHTS}, source="hf://org/gpt", name="org/gpt")
    keep(store, {"a.safetensors": WEIGHTS}, source="s3://models/gpt/", name="something-else")
    assert found(store, SIDES) == []
    assert [finding.rule for finding in found(store)] == ["one-digest-two-models"]


def test_a_bare_name_is_the_full_one_that_ends_in_it() -> None:
    assert distinct(["gpt2", "openai/gpt2", "other/gpt2"]) == ["openai/gpt2", "other/gpt2"]
    assert distinct(["gpt2", "bert"]) == ["gpt2", "bert"]


def test_orphan_shards_are_found_from_both_ends(store: Store) -> None:
    keep(store, {
        "model.safetensors.index.json": index(a="model-00001-of-00002.safetensors",
                                              b="model-00002-of-00002.safetensors"),
        "model-00001-of-00002.safetensors": WEIGHTS,
        "old-00001-of-00002.safetensors": WEIGHTS,
        "old-00002-of-00002.safetensors": WEIGHTS,
        "q-00002-of-00003.gguf": b"GGUF",
    })  # fmt: skip
    told = [(finding.path, finding.what) for finding in found(store) if finding.rule == "shards"]
    assert told == [
        ("model.safetensors.index.json",
         "model-00002-of-00002.safetensors is named and does not exist"),
        ("old-00001-of-00002.safetensors", "2 shards and no index that names them"),
        ("q-00002-of-00003.gguf", "1 of 3 shards of its set are there"),
    ]  # fmt: skip


def test_shards_numbered_oddly_and_all_there_frighten_nobody(store: Store) -> None:
    names = [f"model-0000{number}-of-00002.safetensors" for number in range(3)]
    named = dict(zip("abc", names, strict=True))
    keep(store, {"model.safetensors.index.json": index(**named)} | dict.fromkeys(names, WEIGHTS))
    hints = {f.what: str(f.hint) for f in found(store) if f.rule == "shards"}
    (hint,) = (hint for what, hint in hints.items() if "numbered 0 to 2" in what)
    assert "loaders that go by the index take all of them" in hint


def test_shards_of_which_the_index_names_too_few_do(store: Store) -> None:
    name = "model-00001-of-00002.safetensors"
    keep(store, {"model.safetensors.index.json": index(a=name), name: WEIGHTS})
    hints = [str(f.hint) for f in found(store) if f.rule == "shards"]
    assert hints
    assert all("takes half the weights" in hint for hint in hints)


def test_shards_whose_index_was_not_read_are_not_called_orphans(store: Store) -> None:
    for name in ("model.safetensors.index.json", "model.safetensors.index.fp16.json"):
        unread = listed_file(name, b"{}", {"sha256": "declared"})
        keep(
            store, {name: unread, "m-00001-of-00001.safetensors": WEIGHTS}, source=f"file:///{name}"
        )
    assert found(store) == []


def test_a_complete_gguf_set_needs_no_index(store: Store) -> None:
    keep(store, {"q-00001-of-00002.gguf": b"GGUF", "q-00002-of-00002.gguf": b"GGUF"})
    assert found(store) == []


def test_a_configured_side_without_a_snapshot_is_found(store: Store) -> None:
    keep(store, {"a": b"a"}, source="hf://org/gpt", name="org/gpt")
    (finding,) = found(store, SIDES)
    assert finding.rule == "not-mirrored"
    assert finding.what == "org/gpt is configured and has no snapshot of mirror (s3://models/gpt/)"
    assert finding.hint == "manifestd run --only org/gpt"


@pytest.mark.parametrize(("one", "other"), [
    ("Config.json", "config.json"), ("cafe\u0301.txt", "caf\u00e9.txt"),
    ("stra\u00dfe", "STRASSE"), ("a/\u212a", "A/k"),
])  # fmt: skip
def test_names_that_differ_in_case_or_normal_form_only_are_twins(
    store: Store, one: str, other: str
) -> None:
    keep(store, {one: b"1", other: b"2", "unlike": b"3"})
    (finding,) = found(store)
    assert finding.rule == "twins"
    assert sorted(finding.facts["paths"]) == sorted([one, other])
    assert folded(one) == folded(other)


def test_many_twins_of_one_snapshot_are_cut_and_counted(store: Store) -> None:
    keep(store, {name: b"x" for n in range(MAX_OF_ONE + 5) for name in (f"a{n}", f"A{n}")})
    findings = found(store)
    assert len(findings) == MAX_OF_ONE + 1
    assert findings[-1].facts == {"more": 5}


def test_a_file_that_is_a_folder_too_is_found_once(store: Store) -> None:
    keep(store, dict.fromkeys(("a", "a-b", "a.b", "a/b", "a/c/d", "a/c/d/e", "ab/a"), b"x"))
    findings = found(store)
    assert [(one.rule, one.path, one.facts) for one in findings] == [
        ("clash", "a", {"below": "a/b"}),
        ("clash", "a/c/d", {"below": "a/c/d/e"}),
    ]
    assert "no directory can hold both" in findings[0].what


def test_an_incomplete_snapshot_says_why(store: Store) -> None:
    gone = Problem(path="b", code="access-denied", what="'b' is gated", hint="set HF_TOKEN")
    keep(store, {"a": b"a", "b": listed_file("b", b"b", {"md5": "declared"})}, problems=[gone])
    (finding,) = found(store)
    assert finding.what == "the snapshot is incomplete: 1 of 2 files have no sha256; 'b' is gated"
    assert finding.hint == "set HF_TOKEN"


def test_only_the_latest_of_each_place_counts_unless_asked(store: Store) -> None:
    keep(store, {"A": b"1", "a": b"2"})
    keep(store, {"a": b"2"}, captured_at="2026-03-02T10:00:00Z")
    assert found(store) == []
    assert [finding.rule for finding in found(store, history=True)] == ["twins"]


def test_the_command_shows_names_harmlessly_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["lint"]) == 3
    with open_store(tmp_path / "snapshots" / "manifestd.db", write=True) as store:
        keep(store, {"a\x1b[31m": b"1", "A\x1b[31m": b"2"})
    capsys.readouterr()
    assert run(["lint"]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.endswith("1 finding in 1 snapshot.\n")
    assert run(["lint", "--format", "json"]) == 1
    check_document("lint", capsys.readouterr().out)


def test_the_command_ends_with_0_where_nothing_is_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(tmp_path / "snapshots" / "manifestd.db", write=True) as store:
        keep(store, {"a": b"1"})
    assert run(["lint"]) == 0
    assert capsys.readouterr().out == "Nothing is odd in 1 snapshot.\n"
