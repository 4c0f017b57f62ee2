"""Comparing two stored snapshots: from the records where they decide, else only what differs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifestd.errors import NotStoredError, TamperedError
from manifestd.formats.names import BODY
from manifestd.model.change import Basis, Diff
from manifestd.model.entry import Problem
from manifestd.reports.telling import told
from manifestd.rules.verdicts import Demands, exit_code
from manifestd.store import Store, open_store
from manifestd.workflows.compare import compare
from tests.workflows.stored import keep, listed_file, read_file

TREE = {"config.json": b'{"a": 1}', "model.bin": b"weights", "vocab.txt": b"a\nb\n"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "manifestd.db", write=True) as opened:
        yield opened


def verdicts(diff: Diff) -> dict[str, str]:
    return {file.path: file.verdict for file in diff.files}


def watched(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collects the raw digest of every blob that is read from here on."""
    fetched: list[bytes] = []
    fetch = store.blobs.fetch

    def watching(raw: bytes) -> bytes:
        fetched.append(raw)
        return fetch(raw)

    monkeypatch.setattr(store.blobs, "fetch", watching)
    return fetched


class TestIdentical:
    def test_two_places_with_the_same_files(self, store: Store) -> None:
        left, right = keep(store, TREE), keep(store, TREE, source="s3://b/p/")
        diff = compare(store, left, right)
        assert (diff.verdict, diff.result, exit_code(diff)) == ("identical", "pass", 0)
        assert (diff.counts.identical, diff.files) == (3, [])
        assert diff.left.manifest == diff.right.manifest
        assert diff.weights.equal is True

    def test_no_entry_is_read_for_equal_manifests(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left, right = keep(store, TREE), keep(store, TREE, source="s3://b/p/")
        kinds = {"leaf", "node"}
        pieces = {raw for kind in kinds for _, raw in store.blobs.of_kind(kind)}  # type: ignore[arg-type]
        # Who wrote the records has them in memory.
        with open_store(store.path) as reader:
            fetched = watched(reader, monkeypatch)
            assert compare(reader, left, right).verdict == "identical"
            assert fetched
            assert not pieces & set(fetched)

    def test_the_list_is_there_when_it_is_asked_for(self, store: Store) -> None:
        left, right = keep(store, TREE), keep(store, TREE, source="s3://b/p/")
        diff = compare(store, left, right, list_identical=True)
        assert verdicts(diff) == dict.fromkeys(TREE, "identical")
        assert diff.counts.identical == 3
        assert diff.files[0].basis == Basis(algorithm="sha256", left="measured", right="measured")

    def test_a_snapshot_equals_itself_and_that_is_said(self, store: Store) -> None:
        left = keep(store, TREE)
        diff = compare(store, left, left)
        assert diff.verdict == "identical"
        assert diff.notes == ["both references name the same snapshot"]


class TestDifferent:
    def test_exactly_the_changed_the_missing_and_the_extra_file(self, store: Store) -> None:
        changed = {**TREE, "model.bin": b"Weights", "extra.txt": b"x"}
        del changed["vocab.txt"]
        diff = compare(store, keep(store, TREE), keep(store, changed))
        assert verdicts(diff) == {
            "extra.txt": "rightOnly",
            "model.bin": "different",
            "vocab.txt": "leftOnly",
        }
        assert (diff.counts.identical, exit_code(diff)) == (1, 1)
        assert [file.path for file in diff.files] == sorted(verdicts(diff))
        assert all(file.impact != "none" for file in diff.files)

    def test_listing_identical_files_changes_nothing_else(self, store: Store) -> None:
        left, right = keep(store, TREE), keep(store, {**TREE, "model.bin": b"Weights"})
        short, full = compare(store, left, right), compare(store, left, right, list_identical=True)
        assert short.counts == full.counts
        assert short.files == [file for file in full.files if file.verdict != "identical"]

    def test_a_moved_file_counts_once(self, store: Store) -> None:
        moved = {**TREE, "sub/model.bin": TREE["model.bin"]}
        del moved["model.bin"]
        diff = compare(store, keep(store, TREE), keep(store, moved))
        [file] = diff.files
        assert (file.path, file.verdict, file.moved_from) == ("sub/model.bin", "moved", "model.bin")
        assert (diff.verdict, diff.counts.moved, exit_code(diff)) == ("moved", 1, 1)
        assert file.basis == Basis(algorithm="sha256", left="measured", right="measured")

    def test_a_deleted_file_is_not_hidden_by_its_twin(self, store: Store) -> None:
        twins = {**TREE, "twin.bin": TREE["model.bin"]}
        diff = compare(store, keep(store, twins), keep(store, TREE))
        assert verdicts(diff) == {"twin.bin": "leftOnly"}

    def test_damage_is_located_from_stored_chunk_digests(self, store: Store) -> None:
        data = bytes(10_000)
        damaged = data[:5000] + b"\x01" + data[5001:]
        left = keep(store, {"m.bin": read_file(store, "m.bin", data, chunk=1024)})
        right = keep(store, {"m.bin": read_file(store, "m.bin", damaged, chunk=1024)})
        [file] = compare(store, left, right).files
        assert [change.at for change in file.changes if change.at.startswith("bytes")] == [
            "bytes 4096-5119"
        ]


class TestMeaning:
    def test_reordered_json_is_equivalent_and_strict_refuses_it(self, store: Store) -> None:
        left = keep(store, {"config.json": b'{"a":1,"b":[1,2]}'})
        right = keep(store, {"config.json": b'{ "b": [1, 2],\n  "a": 1 }\n'})
        diff = compare(store, left, right)
        assert (diff.verdict, exit_code(diff)) == ("equivalent", 0)
        assert diff.files[0].basis is not None
        assert exit_code(compare(store, left, right, Demands(strict=True))) == 1

    def test_a_changed_key_is_named_with_both_values(self, store: Store) -> None:
        left = keep(store, {"config.json": b'{"torch_dtype": "float16"}'})
        right = keep(store, {"config.json": b'{"torch_dtype": "bfloat16"}'})
        [file] = compare(store, left, right).files
        assert (file.verdict, file.impact) == ("different", "behaviour")
        [change] = file.changes
        assert (change.at, change.left, change.right) == ("/torch_dtype", "float16", "bfloat16")

    def test_a_body_that_is_gone_leaves_the_verdict_and_no_explanation(self, store: Store) -> None:
        other = read_file(store, "config.json", b'{"a": 2}')
        gone = listed_file("config.json", b'{"a": 1}', {"sha256": "declared"}, body=True)
        [file] = compare(
            store, keep(store, {"config.json": gone}), keep(store, {"config.json": other})
        ).files
        assert (file.verdict, file.changes) == ("different", [])

    def test_a_minimum_impact_lets_lesser_changes_pass(self, store: Store) -> None:
        left = keep(store, {"config.json": b'{"transformers_version": "4.1"}'})
        right = keep(store, {"config.json": b'{"transformers_version": "5.0"}'})
        assert exit_code(compare(store, left, right)) == 1
        diff = compare(store, left, right, Demands(min_impact="behaviour"))
        assert (diff.verdict, exit_code(diff)) == ("different", 0)

    def test_new_code_is_a_matter_of_security(self, store: Store) -> None:
        diff = compare(
            store, keep(store, TREE), keep(store, {**TREE, "modeling_x.py": b"import os"})
        )
        assert [file.impact for file in diff.files] == ["security"]

    def test_what_matters_first_has_both_values_of_a_number_too_long_for_json(
        self, store: Store
    ) -> None:
        left, right = (
            keep(store, {"tokenizer_config.json": b'{"model_max_length": %d}' % number})
            for number in (8192, 10**30)
        )
        [file] = compare(store, left, right).files
        assert told(file).startswith(f'/model_max_length: 8192 -> "{10**30}"')

    @pytest.mark.parametrize("pieces", [None, 4 * 1024 * 1024])
    @pytest.mark.parametrize("more", [0, 1])
    def test_a_text_too_large_to_be_kept_says_why_its_bytes_alone_were_compared(
        self, store: Store, pieces: int | None, more: int
    ) -> None:
        bodies = (b"1" + b" " * (BODY + more - 1), b"2" + b" " * (BODY + more - 1))
        left, right = (
            keep(store, {"big.txt": read_file(store, "big.txt", data, chunk=pieces, body=False)})
            for data in bodies
        )
        [file] = compare(store, left, right).files
        why = "too large to explain: bodies are kept up to 16 MiB"
        assert (file.reason or "").endswith(why) is bool(more)
        assert (why in told(file)) is bool(more)
        assert bool(file.changes) is bool(pieces)


class TestUndecided:
    def test_equal_md5_is_unverifiable_with_the_command_that_decides(self, store: Store) -> None:
        known = listed_file("model.bin", TREE["model.bin"], {"md5": "stored"})
        both = listed_file("model.bin", TREE["model.bin"], {"md5": "stored", "sha256": "measured"})
        left = keep(store, {**TREE, "model.bin": both})
        right = keep(store, {**TREE, "model.bin": known}, source="s3://b/p/")
        diff = compare(store, left, right)
        assert verdicts(diff) == {"model.bin": "unverifiable"}
        assert (diff.verdict, diff.result, exit_code(diff)) == ("unverifiable", "unknown", 3)
        assert diff.files[0].hint == (
            "run `manifestd snapshot s3 s3://b/p/ --read missing` "
            "(or let S3 compute it, without reading: --explain), then compare again"
        )
        assert diff.counts.identical == 2
        assert diff.weights.equal is None

    def test_weaker_evidence_than_asked_for_is_unverifiable(self, store: Store) -> None:
        weak = read_file(store, "model.bin", TREE["model.bin"], grade="declared")
        left, right = keep(store, TREE), keep(store, {**TREE, "model.bin": weak})
        assert exit_code(compare(store, left, right)) == 0
        diff = compare(store, left, right, Demands(min_evidence="stored"))
        assert verdicts(diff) == {"model.bin": "unverifiable"}
        assert (diff.counts.identical, exit_code(diff)) == (2, 3)

    def test_weaker_evidence_does_not_make_files_equivalent(self, store: Store) -> None:
        left = keep(store, {"config.json": b'{"a":1}'})
        weak = read_file(store, "config.json", b'{"a": 1}', grade="declared")
        right = keep(store, {"config.json": weak})
        diff = compare(store, left, right, Demands(min_evidence="measured"))
        assert (diff.verdict, exit_code(diff)) == ("unverifiable", 3)

    def test_what_a_side_could_not_look_at_is_not_missing_there(self, store: Store) -> None:
        problem = Problem(path="model.bin", code="special-file", what="it is a fifo")
        partial = {path: data for path, data in TREE.items() if path != "model.bin"}
        left = keep(store, partial, problems=[problem])
        diff = compare(store, left, keep(store, TREE, source="hf://o/m"))
        assert verdicts(diff) == {"model.bin": "unverifiable"}
        assert diff.files[0].reason == "left: it is a fifo"
        assert diff.notes == ["the left snapshot is incomplete: model.bin: it is a fifo"]
        assert exit_code(diff) == 3

    def test_what_neither_side_could_look_at_is_listed(self, store: Store) -> None:
        problem = Problem(path="pipe", code="special-file", what="it is a fifo")
        left, right = keep(store, TREE, problems=[problem]), keep(store, TREE, problems=[problem])
        diff = compare(store, left, right)
        assert verdicts(diff) == {"pipe": "unverifiable"}
        assert exit_code(diff) == 3

    def test_a_listing_that_broke_off_proves_nothing_missing(self, store: Store) -> None:
        problem = Problem(code="source-unreachable", what="the listing ended early")
        left = keep(store, {"config.json": TREE["config.json"]}, problems=[problem])
        right = keep(store, TREE)
        diff = compare(store, left, right)
        assert verdicts(diff) == {"model.bin": "unverifiable", "vocab.txt": "unverifiable"}
        same = compare(store, left, keep(store, {"config.json": TREE["config.json"]}))
        assert (same.verdict, same.result, exit_code(same)) == ("unverifiable", "unknown", 3)

    def test_other_selections_are_said(self, store: Store) -> None:
        left, right = keep(store, TREE, ignore=["*.md"]), keep(store, TREE)
        assert compare(store, left, right).notes == [
            "the two snapshots left out different files: left *.md, right nothing"
        ]

    def test_a_side_that_contradicts_itself_is_said(self, store: Store) -> None:
        problem = Problem(path="a", code="digest-mismatch", what="wrong", severity="mismatch")
        diff = compare(store, keep(store, TREE, problems=[problem]), keep(store, TREE))
        assert diff.notes == ["the left side contradicts itself: a: wrong"]


class TestTrees:
    def test_a_record_that_claims_another_manifest_is_refused(self, store: Store) -> None:
        left = keep(store, TREE)
        liar = keep(
            store, {**TREE, "model.bin": b"Weights"}, manifest=store.snapshots.load(left).manifest
        )
        with pytest.raises(TamperedError, match="do not hold what their records say"):
            compare(store, left, liar)

    def test_a_record_that_claims_another_number_of_files_is_refused(self, store: Store) -> None:
        left, liar = keep(store, TREE), keep(store, {**TREE, "model.bin": b"W"}, more_files=1)
        with pytest.raises(TamperedError, match="do not hold what their records say"):
            compare(store, left, liar)

    def test_an_unknown_reference_is_not_stored(self, store: Store) -> None:
        with pytest.raises(NotStoredError):
            compare(store, "sha256:" + "0" * 64, "sha256:" + "1" * 64)

    def test_large_trees_descend_only_where_they_differ(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {
            f"m{folder}/f{n:02}.txt": listed_file(
                f"m{folder}/f{n:02}.txt", b"%d %d" % (folder, n), {"sha256": "stored"}
            )
            for folder in range(100)
            for n in range(20)
        }
        left = keep(store, files)
        path = "m50/f07.txt"
        right = keep(store, {**files, path: listed_file(path, b"x", {"sha256": "stored"})})
        fetched = watched(store, monkeypatch)
        diff = compare(store, left, right)
        assert verdicts(diff) == {path: "different"}
        assert diff.counts.identical == 1999
        assert len(fetched) < 60


NAMES = st.sampled_from(["a", "a-b", "a/x", "b/y", "config.json", "z.bin"])
CONTENT = st.sampled_from([b"", b"1", b"2", b'{"k": 1}'])
KNOWN = st.sampled_from([{"sha256": "measured"}, {"sha256": "declared"}, {"md5": "stored"}, {}])
SIDES = st.dictionaries(NAMES, st.tuples(CONTENT, KNOWN), min_size=1)
MIRROR = {"leftOnly": "rightOnly", "rightOnly": "leftOnly"}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(left=SIDES, right=SIDES, full=st.booleans())
def test_counts_add_up_and_swapping_mirrors(
    store: Store,
    left: dict[str, tuple[bytes, dict[str, str]]],
    right: dict[str, tuple[bytes, dict[str, str]]],
    full: bool,
) -> None:
    sides = [
        keep(store, {path: listed_file(path, data, known) for path, (data, known) in one.items()})  # type: ignore[arg-type]
        for one in (left, right)
    ]
    there = compare(store, sides[0], sides[1], list_identical=full)
    back = compare(store, sides[1], sides[0], list_identical=full)
    counts = there.counts
    paired = counts.identical + counts.equivalent + counts.different + counts.moved
    both = paired + counts.unverifiable
    assert both + counts.left_only == len(left)
    assert both + counts.right_only == len(right)
    assert (there.verdict, there.result) == (back.verdict, back.result)
    assert {(f.moved_from or f.path, MIRROR.get(f.verdict, f.verdict)) for f in there.files} == {
        (f.path, f.verdict) for f in back.files
    }


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(tree=st.dictionaries(NAMES, CONTENT, min_size=1), full=st.booleans())
def test_a_complete_snapshot_is_identical_to_itself(
    store: Store, tree: dict[str, bytes], full: bool
) -> None:
    digest = keep(store, tree)
    diff = compare(store, digest, digest, list_identical=full)
    assert (diff.verdict, diff.result, diff.counts.identical) == ("identical", "pass", len(tree))


def test_comparing_imports_no_client_library() -> None:
    program = (
        "import sys, manifestd.cli.diff, manifestd.workflows.compare, manifestd.reports.text\n"
        "heavy = {'boto3', 'botocore', 'huggingface_hub', 'sqlite_utils', 'cryptography', 'rich',"
        " 'yaml', 'blake3', 'awscrt', 'httpx2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
