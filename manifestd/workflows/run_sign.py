"""Signed verdicts: one in-toto test-result v0.1 statement for each comparison of a run.

The subject is what was looked at, the configuration what it was compared with and under
which policy, all by digest: a verdict about one pair cannot be passed off as that of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from manifestd import canonical
from manifestd.model import media_types
from manifestd.model.change import Diff, Result, Side
from manifestd.model.digest import hex_of
from manifestd.model.logentry import time_text
from manifestd.model.run import RunFinding, RunModel
from manifestd.model.statement import Statement, Subject
from manifestd.signing.base import Signer

_OUTCOMES: Final[dict[Result, str]] = {
    "pass": "passedTests",
    "fail": "failedTests",
    "unknown": "warnedTests",
    "error": "warnedTests",
}


def sign_comparison(
    diff: Diff, model: RunModel, run_id: str, at: datetime, signer: Signer
) -> bytes:
    """Sign what came of one comparison; returns the bundle to store.

    Args:
        diff: The comparison; its right side is the subject.
        model: The model that it is one of; what the policy says of it.
        run_id: Name of the run.
        at: When it was concluded.
        signer: The key.

    Raises:
        SignatureError: The signer returned a signature that does not verify.
    """
    from manifestd.signing.dsse import sign_statement

    return sign_statement(comparison_statement(diff, model, run_id, at), signer)


def comparison_statement(diff: Diff, model: RunModel, run_id: str, at: datetime) -> bytes:
    """The canonical bytes of the statement; see :func:`sign_comparison`."""
    tests: dict[str, list[str]] = {name: [] for name in sorted(set(_OUTCOMES.values()))}
    for name, outcome in _tests(diff, model.policy).items():
        tests[_OUTCOMES[outcome]].append(name)
    result = "FAILED" if tests["failedTests"] else "WARNED" if tests["warnedTests"] else "PASSED"
    predicate: dict[str, Any] = {
        "result": result,
        "configuration": _configuration(diff, model, run_id, at),
        **tests,
    }
    return canonical.encode(
        Statement(
            subject=_subjects(diff.right),
            predicate_type=media_types.TEST_RESULT_PREDICATE,
            predicate=predicate,
        )
    )


def _tests(diff: Diff, policy: Sequence[RunFinding]) -> dict[str, Result]:
    """What was looked at, and how it went."""
    tests: dict[str, Result] = {"content": diff.result}
    states = {diff.left.signature, diff.right.signature}
    if states == {"verified"}:
        tests["signatures"] = "pass"
    elif "invalid" in states:
        tests["signatures"] = "fail"
    if policy:
        fails = any(item.severity == "error" and item.waived is None for item in policy)
        tests["policy"] = "fail" if fails else "unknown"
    else:
        tests["policy"] = "pass"
    return tests


def _configuration(diff: Diff, model: RunModel, run_id: str, at: datetime) -> list[dict[str, Any]]:
    """Resource descriptors of everything that the result depends on besides the subject."""
    reference = diff.left.manifest or diff.left.snapshot
    found: list[dict[str, Any]] = [
        {
            "name": "reference",
            "uri": diff.left.source,
            "digest": {"sha256": hex_of(reference)},
            "annotations": {
                "evaluatedAt": time_text(at),
                "run": run_id,
                "verdict": diff.verdict,
            },
        },
        {"name": "reference-snapshot", "digest": {"sha256": hex_of(diff.left.snapshot)}},
        {
            "name": "snapshot",
            "uri": diff.right.source,
            "digest": {"sha256": hex_of(diff.right.snapshot)},
        },
    ]
    found += [
        {"name": "policy", "digest": {"sha256": hex_of(digest)}}
        for digest in sorted({side.policy for side in model.sides.values() if side.policy})
    ]
    return found


def _subjects(side: Side) -> list[Subject]:
    if side.manifest is None:
        return [Subject(name="snapshot", digest={"sha256": hex_of(side.snapshot)})]
    return [Subject(name="manifest", digest={"sha256": hex_of(side.manifest)})]
