"""The policy's rules one by one, on views made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.model.finding import Finding
from manifestd.model.snapshot import EvidenceCounts, Selection, Snapshot
from manifestd.rules.policy import MAX_LISTED, RULES, Demands, View, ViewFile, Waived, evaluate
from manifestd.rules.secrets import Secret

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64
RECORD = Snapshot(
    name="m", source="hf://m", requested=None, revision=None, captured_at="2026-05-01T00:00:00Z",
    tool="t", selection=Selection(), manifest=DIGEST, complete=True, files=1, bytes=1,
    evidence=EvidenceCounts(measured=1), content=DIGEST, observation=DIGEST,
)  # fmt: skip


def file(path: str, **changed: Any) -> ViewFile:
    return ViewFile(path=path, sha256="a" * 64, grade="measured", role="other")._replace(**changed)


def judged(*files: ViewFile, view: dict[str, Any] | None = None, **demands: Any) -> list[Finding]:
    levels = demands.pop("levels", dict.fromkeys(RULES, "error"))
    seen = View(names=frozenset({"m"}), record=RECORD, files=iter(files), **(view or {}))
    found = evaluate(Demands(levels=levels, **demands), seen, NOW)
    # Whatever a test is about: what is not waived says what to do next.
    assert all(one.hint for one in found if one.waived is None)
    return found


def waiver(days: float, **changed: Any) -> Waived:
    values = {"model": "m", "rule": "forbidden", "path": None, "owner": "alice", "reason": "why"}
    return Waived(**(values | changed), expires=NOW + timedelta(days=days))


def test_an_empty_policy_demands_nothing() -> None:
    assert judged(file("anything.pkl"), file("b", grade="none", sha256=None)) == []


def test_every_demand_needs_a_file_and_alternatives_are_one_demand() -> None:
    required = (("config.json",), ("*.safetensors", "*.gguf"), ("format:onnx",))
    found = judged(file("a/config.json"), file("x.gguf"), required=required)
    assert [one.what for one in found] == ["no file is format:onnx"]
    assert found[0].facts == {"patterns": ["format:onnx"]}


def test_a_forbidden_file_is_named_once_with_its_pattern() -> None:
    found = judged(
        file("a/x.pkl", format="pickle"), file("b.txt"), forbidden=("*.pkl", "format:pickle")
    )
    assert [(one.rule, one.path, one.facts) for one in found] == [
        ("forbidden", "a/x.pkl", {"pattern": "*.pkl"})
    ]


@pytest.mark.parametrize(("grade", "minimum", "fails"), [
    ("measured", "measured", False), ("reused", "measured", True), ("declared", "declared", False),
    ("declared", "stored", True), ("none", "declared", True),
])  # fmt: skip
def test_evidence_is_measured_file_by_file(grade: str, minimum: str, fails: bool) -> None:
    assert bool(judged(file("a", grade=grade), min_evidence=minimum)) is fails


def test_who_asks_for_more_than_a_second_run_can_give_is_told_what_to_ask_for() -> None:
    [found] = judged(file("a", grade="reused"), min_evidence="measured")
    assert found.hint is not None
    assert 'min_evidence = "reused"' in found.hint
    [found] = judged(file("a", grade="declared"), min_evidence="measured")
    assert found.hint == "take the snapshot again with --read all"


def test_pinned_files_must_be_there_and_be_the_same() -> None:
    good, bad = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    assert judged(file("tokenizer.json"), pinned={"tokenizer.json": good}) == []
    assert [one.path for one in judged(file("tokenizer.json"), pinned={"tok*": bad})] == [
        "tokenizer.json"
    ]
    (unknown,) = judged(file("tokenizer.json", sha256=None), pinned={"tok*": good})
    assert unknown.what.endswith("its sha256 is unknown")
    (gone,) = judged(file("config.json"), pinned={"tok*": good})
    assert (gone.path, gone.what) == (None, "nothing is tok*, which is pinned")


def test_a_secret_is_a_finding_of_kind_and_line() -> None:
    (found,) = judged(file("config.json", secrets=(Secret("AWS access key id", 7),)))
    assert found.what == "an AWS access key id in line 7"
    assert found.facts == {"kind": "AWS access key id", "line": 7}


def test_what_was_not_looked_into_is_said_and_is_only_a_warning() -> None:
    found = judged(file("a.json", secrets=None), file("b.json", secrets=None),
                   file("x.bin", findings=None))  # fmt: skip
    assert [(one.rule, one.severity, one.what) for one in found] == [
        ("secrets", "warning", "2 files were not searched: the bytes are not kept"),
        ("security", "warning", "1 file was not looked into, of a kind that can run code"),
    ]


def test_what_a_reader_warned_of_is_a_finding() -> None:
    warned = ({"rule": "pickle-global", "at": "data.pkl", "what": "imports os.system"},)
    (found,) = judged(file("x.bin", findings=warned))
    assert (found.rule, found.what, found.facts["finding"]) == (
        "security", "imports os.system", "pickle-global",
    )  # fmt: skip


@pytest.mark.parametrize(("state", "fails"), [
    ("verified", False), ("untrusted", True), ("unsigned", True), ("invalid", True), (None, True),
])  # fmt: skip
def test_only_a_verified_signature_is_one(state: str | None, fails: bool) -> None:
    assert bool(judged(view={"signature": state}, require_signature=True)) is fails
    assert judged(view={"signature": state}) == []


@pytest.mark.parametrize(("age", "what"), [
    (timedelta(days=30), None),
    (timedelta(days=30, seconds=1), "it was last looked at on 2026-05-02, more than 30 days ago"),
    (timedelta(minutes=-30), None),
    (timedelta(days=-2), "it says that it was taken in the future, on 2026-06-03"),
    (None, "it was never seen completely"),
])  # fmt: skip
def test_the_last_look_may_not_be_too_long_ago(age: timedelta | None, what: str | None) -> None:
    last = None if age is None else NOW - age
    found = judged(view={"last_audit": last}, max_age=timedelta(days=30))
    assert [one.what for one in found] == ([what] if what else [])


def test_a_waiver_in_time_covers_and_says_whose_it_is() -> None:
    (found,) = judged(file("x.pkl"), forbidden=("*.pkl",), waivers=(waiver(1, path="x.pkl"),))
    assert found.severity == "error"
    assert not found.fails
    assert found.waived is not None
    assert (found.waived.owner, found.waived.reason) == ("alice", "why")


def test_a_waiver_past_its_date_covers_nothing_and_is_named() -> None:
    (found,) = judged(file("x.pkl"), forbidden=("*.pkl",), waivers=(waiver(-1),))
    assert found.fails
    assert found.what.endswith("(the waiver of alice ran out on 2026-05-31)")
    assert found.facts["expiredWaiver"]["owner"] == "alice"


def test_a_waiver_holds_to_its_very_last_moment() -> None:
    assert not judged(file("x.pkl"), forbidden=("*.pkl",), waivers=(waiver(0),))[0].fails


@pytest.mark.parametrize("changed", [
    {"model": "other"}, {"rule": "secrets"}, {"path": "y.pkl"}, {"path": "*.bin"},
])  # fmt: skip
def test_a_waiver_of_something_else_covers_nothing(changed: dict[str, Any]) -> None:
    (found,) = judged(file("x.pkl"), forbidden=("*.pkl",), waivers=(waiver(1, **changed),))
    assert found.fails
    assert found.what == "the policy forbids *.pkl"


def test_a_waiver_for_a_path_does_not_cover_the_whole_model() -> None:
    (found,) = judged(required=(("a",),), waivers=(waiver(1, rule="required", path="a"),))
    assert found.fails


def test_of_two_waivers_the_one_in_time_counts() -> None:
    waivers = (waiver(-9, owner="old"), waiver(1, owner="new"))
    (found,) = judged(file("x.pkl"), forbidden=("*.pkl",), waivers=waivers)
    assert found.waived is not None
    assert found.waived.owner == "new"


def test_severities_warn_or_switch_off() -> None:
    (found,) = judged(file("x.pkl"), forbidden=("*.pkl",), levels={"forbidden": "warning"})
    assert not found.fails
    assert judged(file("x.pkl"), forbidden=("*.pkl",), levels={"required": "error"}) == []


def test_errors_stand_first_then_warnings_then_what_is_waived() -> None:
    found = judged(
        file("a.pkl"), file("b.pkl", secrets=None), file("c.pkl"), forbidden=("*.pkl",),
        waivers=(waiver(1, path="a.pkl"),),
    )  # fmt: skip
    assert [(one.path, one.severity, bool(one.waived)) for one in found] == [
        ("b.pkl", "error", False), ("c.pkl", "error", False), (None, "warning", False),
        ("a.pkl", "error", True),
    ]  # fmt: skip


@given(st.integers(0, MAX_LISTED * 2), st.integers(0, MAX_LISTED * 2))
def test_a_long_list_is_cut_and_never_hides_an_error(waived: int, bad: int) -> None:
    files = [file(f"a{number:04}.pkl") for number in range(waived)]
    files += [file(f"b{number:04}.pkl") for number in range(bad)]
    found = judged(*files, forbidden=("*.pkl",), waivers=(waiver(1, path="a*"),))
    assert len(found) <= MAX_LISTED + 2
    assert any(one.fails for one in found) == (bad > 0)
    told = sum(one.facts.get("more", 1) for one in found)
    assert told == waived + bad
