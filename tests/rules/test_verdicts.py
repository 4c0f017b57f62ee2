"""From files to the model: the worst verdict, the result under each demand, the exit code."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.model.change import (
    Counts,
    Diff,
    FileDiff,
    Impact,
    Side,
    SignatureState,
    Verdict,
    WeightsDiff,
)
from manifestd.rules.verdicts import Demands, conclude, count, exit_code, model_verdict

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def side(signature: SignatureState = "verified") -> Side:
    return Side(
        snapshot="sha256:" + "0" * 64, manifest=None, source="file:///m", revision=None,
        captured_at="2026-01-01T00:00:00Z", signature=signature,
    )  # fmt: skip


def files(*verdicts: Verdict, impact: Impact = "behaviour") -> list[FileDiff]:
    return [
        FileDiff(path=f"file{number}", verdict=verdict, impact=impact)
        for number, verdict in enumerate(verdicts)
    ]


def diff_of(
    found: list[FileDiff], demands: Demands, sides: tuple[Side, Side] | None = None
) -> Diff:
    sides = sides or (side(), side())
    result, findings = conclude(found, sides, demands)
    counts = count(found)
    return Diff(
        left=sides[0], right=sides[1], verdict=model_verdict(counts), result=result,
        counts=counts, files=found, weights=WeightsDiff(left=None, right=None, equal=None),
        findings=findings,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "worst", "result", "code"),
    [
        (["identical"], "identical", "pass", 0),
        (["identical", "equivalent"], "equivalent", "pass", 0),
        (["identical", "moved"], "moved", "fail", 1),
        (["equivalent", "moved"], "moved", "fail", 1),
        (["identical", "unverifiable"], "unverifiable", "unknown", 3),
        (["equivalent", "unverifiable"], "unverifiable", "unknown", 3),
        (["moved", "unverifiable"], "unverifiable", "fail", 1),
        (["different", "unverifiable"], "different", "fail", 1),
        (["leftOnly"], "different", "fail", 1),
        (["rightOnly"], "different", "fail", 1),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else str(value),
)
def test_the_worst_file_decides(
    verdicts: list[Verdict], worst: str, result: str, code: int
) -> None:
    diff = diff_of(files(*verdicts), Demands())
    assert (diff.verdict, diff.result, exit_code(diff)) == (worst, result, code)


def test_strict_lets_only_identical_pass() -> None:
    strict = Demands(strict=True)
    assert exit_code(diff_of(files("identical"), strict)) == 0
    diff = diff_of(files("identical", "equivalent"), strict)
    assert exit_code(diff) == 1
    assert [(f["rule"], f["path"]) for f in diff.findings] == [("strict", "file1")]


@pytest.mark.parametrize("impact", ["none", "cosmetic", "metadata"])
def test_what_is_below_the_minimum_impact_passes_and_is_said(impact: Impact) -> None:
    diff = diff_of(files("different", impact=impact), Demands(min_impact="behaviour"))
    assert (diff.verdict, diff.result, exit_code(diff)) == ("different", "pass", 0)
    assert [(f["rule"], f["result"]) for f in diff.findings] == [("min-impact", "pass")]


@pytest.mark.parametrize("impact", ["behaviour", "security"])
def test_what_reaches_the_minimum_impact_fails(impact: Impact) -> None:
    diff = diff_of(files("different", impact=impact), Demands(min_impact="behaviour"))
    assert (diff.result, exit_code(diff), diff.findings) == ("fail", 1, [])


def test_a_minimum_impact_never_hides_what_is_undecided() -> None:
    diff = diff_of(files("unverifiable", impact="none"), Demands(min_impact="security"))
    assert exit_code(diff) == 3


@pytest.mark.parametrize(
    ("state", "required", "code"),
    [
        ("verified", True, 0),
        ("unsigned", False, 0),
        ("untrusted", False, 0),
        ("unsigned", True, 4),
        ("untrusted", True, 4),
        ("invalid", False, 4),
        ("invalid", True, 4),
    ],
)
def test_signatures_decide_as_asked_and_a_bad_one_always(
    state: SignatureState, required: bool, code: int
) -> None:
    demands = Demands(require_signature=required)
    for sides in ((side(state), side()), (side(), side(state))):
        diff = diff_of(files("identical"), demands, sides)
        assert exit_code(diff) == code
        assert (diff.result == "fail") == (code == 4)


def test_a_bad_signature_comes_before_a_difference() -> None:
    diff = diff_of(files("different"), Demands(), (side("invalid"), side()))
    assert exit_code(diff) == 4


def test_an_incomplete_listing_leaves_the_result_unknown() -> None:
    known = [{"rule": "incomplete", "result": "unknown", "side": "left", "what": "…"}]
    assert conclude(files("identical"), (side(), side()), Demands(), known)[0] == "unknown"
    assert model_verdict(Counts(identical=3), incomplete=True) == "unverifiable"


@given(st.lists(st.sampled_from(VERDICTS)), st.integers(0, 9))
def test_counts_add_up(verdicts: list[Verdict], unlisted: int) -> None:
    counts = count(files(*verdicts), identical=unlisted)
    total = (
        counts.identical + counts.equivalent + counts.different + counts.left_only
        + counts.right_only + counts.moved + counts.unverifiable
    )  # fmt: skip
    assert total == len(verdicts) + unlisted
    assert counts.identical == verdicts.count("identical") + unlisted
