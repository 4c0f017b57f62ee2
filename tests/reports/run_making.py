"""Runs for tests of reports, notifications and metrics, with every way a model can end."""

from __future__ import annotations

from typing import Any

import msgspec

from manifestd.model.change import Diff, FileDiff
from manifestd.model.entry import Problem
from manifestd.model.failure import Failure
from manifestd.model.run import Run, RunCounts, RunFinding, RunModel, RunSide
from manifestd.model.snapshot import EvidenceCounts
from manifestd.rules.verdicts import Demands
from manifestd.store import Store
from tests.contracts.report_suite import diff_of, files_of_every_verdict, known, side

POLICY = "sha256:" + "11" * 32


def run_side(name: str, **more: Any) -> RunSide:
    """A side whose snapshot is complete."""
    values: dict[str, Any] = {
        "reference": f"hf://{name}@main",
        "snapshot": "sha256:" + "ab" * 32,
        "manifest": "sha256:" + "cd" * 32,
        "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "captured_at": "2026-03-01T10:00:00.123456Z",
        "complete": True,
        "evidence": EvidenceCounts(measured=8, declared=2),
        "files": 10,
        "bytes": 548_118_077,
        "bytes_read": 15_234,
        "bytes_reused": 1_000_000,
        "requests": 9,
        "seconds": 0.8,
    }
    return RunSide(**{**values, **more})


def failure(code: str = "access-denied", **more: Any) -> Failure:
    """An error as a run keeps it."""
    values: dict[str, Any] = {
        "code": code,
        "what": "the model is gated and this token has no access",
        "why": None,
        "hint": "ask for access on its page",
        "facts": {},
        "exit_code": 3,
    }
    return Failure(**{**values, **more})


def finding(**more: Any) -> RunFinding:
    """An objection of the policy."""
    values: dict[str, Any] = {
        "side": "mirror", "policy": POLICY, "rule": "licenses", "path": None, "severity": "error",
        "what": "the licence other is not allowed", "hint": "allow it or drop the model",
        "waived": None, "facts": {"license": "other"},
    }  # fmt: skip
    return RunFinding(**{**values, **more})


def model(name: str, diffs: list[Diff] | None = None, **more: Any) -> RunModel:
    """A model with a Hub and a mirror; its result follows from its parts unless given."""
    found = [diff_of([], unlisted=10)] if diffs is None else diffs
    values: dict[str, Any] = {
        "name": name,
        "result": found[0].result if found else "error",
        "verdict": found[0].verdict if found else None,
        "exit_code": 0,
        "reference": "hub",
        "sides": {
            "hub": run_side(name),
            "mirror": run_side(name, reference=f"s3://models/{name}/", revision=None),
        },
        "compared": ["mirror"] if found else [],
        "diffs": found,
        "seconds": 1.25,
    }
    return RunModel(**{**values, **more})


def passing(name: str = "acme/fine") -> RunModel:
    """Nothing differs."""
    return model(name)


def drifted(name: str = "acme/drift", files: list[FileDiff] | None = None) -> RunModel:
    """A file of every verdict, or these."""
    wanted = files_of_every_verdict() if files is None else files
    there = [file for file in wanted if file.verdict != "identical"]
    return model(name, [diff_of(there, unlisted=7)])


def gated(name: str = "acme/gated") -> RunModel:
    """The reference refuses access."""
    error = failure()
    sides = {
        "hub": RunSide(reference=f"hf://{name}@main", error=error),
        "mirror": run_side(name, reference=f"s3://models/{name}/"),
    }
    return model(name, [], sides=sides, error=error)


def objected(name: str = "acme/policy") -> RunModel:
    """Both sides are equal, the policy objects."""
    waiver = {"owner": "alice", "reason": "until 4.2", "expires": "2027-03-31T23:59:59Z"}
    found = [
        finding(),
        finding(rule="forbidden", path="a.pkl", what="a.pkl is forbidden", waived=waiver),
        finding(rule="security", path="b.py", what="code", severity="warning", hint=None),
    ]
    return model(name, policy=found, result="fail", exit_code=1)


def undecided(name: str = "acme/unsure") -> RunModel:
    """Equal md5 only, on an incomplete, unsigned snapshot."""
    files = [file for file in files_of_every_verdict() if file.verdict == "unverifiable"]
    diff = diff_of(files, right=side(source="s3://models/x/", signature="unsigned"))
    problem = Problem(path="x.bin", code="access-denied", what="refused", hint="ask")
    sides = {
        "hub": run_side(name),
        "mirror": run_side(
            name, complete=False, problems=[problem, problem],
            evidence=EvidenceCounts(measured=1, stored=2, none=1),
        ),
    }  # fmt: skip
    return model(name, [diff], sides=sides)


def unsigned(name: str = "acme/unsigned") -> RunModel:
    """A signature was demanded and one side has none."""
    demands = Demands(require_signature=True)
    right = side(source="s3://models/x/", signature="unsigned")
    return model(name, [diff_of([], demands=demands, right=right)])


def contradicted(name: str = "acme/flipped") -> RunModel:
    """A file's bytes are not what the store declares of them; the copies agree all the same."""
    problem = Problem(
        path="model.bin", code="digest-mismatch", severity="mismatch",
        what="its sha256 is not the one that is declared", hint="copy it again",
    )  # fmt: skip
    sides = {
        "hub": run_side(name),
        "mirror": run_side(name, complete=False, problems=[problem], reference=f"s3://m/{name}/"),
    }
    return model(name, sides=sides, result="fail", exit_code=4)


def run_of(*models: RunModel, **more: Any) -> Run:
    """The run of these models, counted and concluded."""
    counts = RunCounts(
        passed=sum(m.result == "pass" for m in models),
        fail=sum(m.result == "fail" for m in models),
        unknown=sum(m.result == "unknown" for m in models),
        error=sum(m.result == "error" for m in models),
    )
    code = 1 if counts.fail else 3 if counts.error or counts.unknown else 0
    values: dict[str, Any] = {
        "run_id": "20260301T101500Z-0123abcd",
        "started_at": "2026-03-01T10:15:00Z",
        "finished_at": "2026-03-01T10:15:12Z",
        "tool": "manifestd test",
        "exit_code": code,
        "counts": counts,
        "models": list(models),
        "bytes_read": 30_468,
        "bytes_reused": 2_000_000,
        "requests": 18,
        "seconds": 12.25,
    }
    return Run(**{**values, **more})


def every_end() -> Run:
    """A model for each way to end."""
    return run_of(
        passing(), drifted(), gated(), objected(), undecided(), unsigned(), contradicted(),
        notes=["2 models were left out by --only"],
    )  # fmt: skip


def hostile_run(name: str) -> Run:
    """``name`` wherever text from outside can stand."""
    file = msgspec.structs.replace(
        files_of_every_verdict()[1], path=name, hint=name, summary=name, reason=name
    )
    moved = FileDiff(
        path=name + "2", verdict="moved", moved_from=name, left=known(1, "3"), right=known(1, "3")
    )
    here, there = side(name, revision=name, signed_by=[name]), side(name, source=f"s3://{name}")
    problem = Problem(path=name, code="unreadable", what=name, hint=name)
    warned = {"rule": name, "path": name, "what": name, "side": "right", "impact": "security"}
    diff = diff_of([file, moved], left=here, right=there, notes=[name])
    diff = msgspec.structs.replace(diff, findings=[*diff.findings, warned])
    sides = {
        "hub": run_side(name, reference=name, revision=name, problems=[problem]),
        "mirror": run_side(name, reference=name, complete=False),
        "other": RunSide(reference=name, error=failure(what=name, hint=name)),
    }
    note = {"owner": name, "reason": name, "expires": name}
    found = [
        finding(rule=name, path=name, what=name, hint=name),
        finding(rule=name, path=name, what=name, waived=note),
    ]
    return run_of(
        model(name, [diff], sides=sides, policy=found, notes=[name], error=failure(what=name)),
        notes=[name], run_id="20260301T101500Z-0123abcd",
    )  # fmt: skip


def keep_run(store: Store, run: Run) -> None:
    """Put a run into a store, as a run does."""
    number = store.runs.start(run.run_id, run.started_at)
    for position, found in enumerate(run.models):
        store.runs.add(number, position, found)
    store.runs.finish(number, run)
