"""From files to the model: counts, verdict, result and exit code (contract, sections 1 and 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from manifestd.model.change import (
    Counts,
    Diff,
    FileDiff,
    Impact,
    ModelVerdict,
    Result,
    Side,
    Verdict,
)
from manifestd.model.evidence import Grade
from manifestd.rules.impact import at_least

FIELDS: Final[dict[Verdict, str]] = {
    "identical": "identical",
    "equivalent": "equivalent",
    "different": "different",
    "leftOnly": "left_only",
    "rightOnly": "right_only",
    "moved": "moved",
    "unverifiable": "unverifiable",
}
"""Verdict -> attribute of :class:`Counts`."""

FAILING: Final[frozenset[Verdict]] = frozenset({"different", "leftOnly", "rightOnly", "moved"})


class Demands(msgspec.Struct, frozen=True, kw_only=True):
    """How much a comparison must show to pass.

    Attributes:
        strict: Only ``identical`` passes; ``equivalent`` fails.
        min_evidence: Equality known less well than this is ``unverifiable``.
        min_impact: Differences of less impact than this do not fail.
        require_signature: Both sides must be signed by a key that counts.
    """

    strict: bool = False
    min_evidence: Grade = "none"
    min_impact: Impact = "none"
    require_signature: bool = False


def count(files: Iterable[FileDiff], *, identical: int = 0) -> Counts:
    """Files by verdict; ``identical`` adds those that were not listed."""
    found = dict.fromkeys(FIELDS.values(), 0)
    found["identical"] = identical
    for file in files:
        found[FIELDS[file.verdict]] += 1
    return Counts(**found)


def model_verdict(counts: Counts, *, incomplete: bool = False) -> ModelVerdict:
    """The worst of the files: identical < equivalent < moved < unverifiable < different.

    The contract ranks moved and equivalent alike; where both occur it is ``moved``, which fails.
    With ``incomplete`` sides, whose files may not all be known, it is at least ``unverifiable``.
    """
    if counts.different or counts.left_only or counts.right_only:
        return "different"
    if counts.unverifiable or incomplete:
        return "unverifiable"
    if counts.moved:
        return "moved"
    return "equivalent" if counts.equivalent else "identical"


def outcome(file: FileDiff, demands: Demands) -> Result:
    """One file's result: a failing file fails the model, an undecided one leaves it unknown."""
    if file.verdict == "unverifiable":
        return "unknown"
    if file.verdict in FAILING:
        return "fail" if at_least(file.impact, demands.min_impact) else "pass"
    return "fail" if file.verdict == "equivalent" and demands.strict else "pass"


def conclude(
    files: Sequence[FileDiff],
    sides: tuple[Side, Side],
    demands: Demands,
    known: Sequence[dict[str, Any]] = (),
) -> tuple[Result, list[dict[str, Any]]]:
    """The model's result, and a finding for every place where a demand decided it.

    Args:
        files: At least every file that is not identical.
        sides: For their signatures.
        demands: What was asked for.
        known: Findings made before (an incomplete listing), which count as they say.

    Returns:
        ``fail`` before ``unknown`` before ``pass``; findings are
        ``{"rule", "result", "what"}`` with ``path`` or ``side``.
    """
    findings = [*_signature_findings(sides, demands), *known, *_file_findings(files, demands)]
    results = {outcome(file, demands) for file in files}
    results |= {finding["result"] for finding in findings}
    if "fail" in results:
        return "fail", findings
    return ("unknown" if "unknown" in results else "pass"), findings


def exit_code(diff: Diff) -> int:
    """The exit code of a comparison: 4 for a signature that does not verify, then 1, then 3."""
    if any(finding.get("rule") == "signature" for finding in diff.findings):
        return 4
    return {"pass": 0, "fail": 1, "unknown": 3, "error": 3}[diff.result]


def _signature_findings(sides: tuple[Side, Side], demands: Demands) -> list[dict[str, Any]]:
    words = {
        "unsigned": "is not signed",
        "untrusted": "is signed by a key that does not count here",
        "invalid": "has a signature that does not verify",
    }
    return [
        {
            "rule": "signature",
            "result": "fail",
            "side": name,
            "what": f"the {name} snapshot {words[side.signature]}",
        }
        for name, side in zip(("left", "right"), sides, strict=True)
        if side.signature == "invalid"
        or (demands.require_signature and side.signature != "verified")
    ]


def _file_findings(files: Sequence[FileDiff], demands: Demands) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = []
    for file in files:
        if file.verdict == "equivalent" and demands.strict:
            what = "equivalent, but only identical files pass (--strict)"
            findings.append({"rule": "strict", "result": "fail", "path": file.path, "what": what})
        elif file.verdict in FAILING and outcome(file, demands) == "pass":
            what = f"impact {file.impact} is below {demands.min_impact} (--min-impact)"
            findings.append(
                {"rule": "min-impact", "result": "pass", "path": file.path, "what": what}
            )
    return findings
