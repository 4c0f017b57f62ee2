"""Runs: every model of a configuration, both sides, in one document (contract, section 5, ``manifestd.run/v1``)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from manifestd.model import media_types
from manifestd.model.change import Diff, ModelVerdict, Result
from manifestd.model.entry import Problem
from manifestd.model.evidence import Grade
from manifestd.model.failure import Failure
from manifestd.model.snapshot import EvidenceCounts, Timestamp

RESULTS: Final[tuple[Result, ...]] = ("fail", "error", "unknown", "pass")
"""Worst first: what is known to be wrong stands before what could not be decided."""


class RunSide(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One side of one model: what was asked for, and the snapshot that answers it.

    Attributes:
        reference: As configured, the template filled in: ``hf://org/name@main``.
        snapshot: Digest of the snapshot; None when none could be taken (see ``error``).
        manifest: Content identity; None while a file's sha256 is unknown.
        revision: The source's own immutable name of the state, if it has one.
        captured_at: When its listing was taken; older than the run with ``--offline``.
        policy: Digest of the policy that was applied to it.
        complete: Every file's sha256 is known and nothing was out of reach.
        evidence: How many files' sha256 is known by which grade.
        files: Number of files.
        bytes: Sum of their sizes.
        bytes_read: Content bytes read for it in this run.
        bytes_reused: Bytes of files whose measurement was taken over from an earlier snapshot.
        requests: Requests made for it in this run.
        seconds: Wall time of taking it.
        problems: What its snapshot could not do or found contradicted, worst first, bounded.
        error: Why there is no snapshot.
    """

    reference: str
    snapshot: str | None = None
    manifest: str | None = None
    revision: str | None = None
    captured_at: str | None = None
    policy: str | None = None
    complete: bool = False
    evidence: EvidenceCounts | None = None
    files: int = 0
    bytes: int = 0
    bytes_read: int = 0
    bytes_reused: int = 0
    requests: int = 0
    seconds: float = 0.0
    problems: list[Problem] = []
    error: Failure | None = None


class RunFinding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing the policy objects to in one side's snapshot.

    Attributes:
        side: Which side.
        policy: Digest of the policy that was applied.
        rule: The policy's key: ``licenses``, ``forbidden`` …
        path: The file, or None when it is about the whole model.
        severity: ``error`` fails the model, unless waived; ``warning`` only tells.
        what: One line for people.
        hint: One action, if there is one.
        waived: Owner, reason and end of the waiver that covers it, or None.
        facts: The values as data; never a secret.
    """

    side: str
    policy: str
    rule: str
    path: str | None
    severity: Literal["error", "warning"]
    what: str
    hint: str | None
    waived: dict[str, Any] | None
    facts: dict[str, Any]


class RunModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One model's part of a run.

    Attributes:
        name: As configured.
        result: ``fail`` before ``error`` (a side could not be snapshotted, or the model could
            not be judged) before ``unknown`` before ``pass``.
        verdict: The worst of its diffs; None when nothing could be compared.
        exit_code: What this model alone would end with: 0, 1, 3 or 4.
        reference: Name of the side the others are compared with.
        sides: Side -> its snapshot, the reference first.
        compared: For each diff, the name of the side on its right; its left is the reference.
        diffs: Differences only: identical files are counted and not listed, unless that was
            asked for (``run --every-file``).
        attestations: Digests of the signed in-toto test results, one for each diff; empty
            when nothing is signed.
        policy: What the policy objects to, of all sides; of equal content it is said once.
        error: What kept the model from being judged whole; a side's own error is repeated here.
        notes: What a reader must know besides.
        seconds: Wall time.
    """

    name: str
    result: Result
    verdict: ModelVerdict | None
    exit_code: Literal[0, 1, 3, 4]
    reference: str
    sides: dict[str, RunSide]
    compared: list[str] = []
    diffs: list[Diff] = []
    attestations: list[str] = []
    policy: list[RunFinding] = []
    error: Failure | None = None
    notes: list[str] = []
    seconds: float = 0.0


class RunCounts(msgspec.Struct, frozen=True, kw_only=True, rename={"passed": "pass"}):
    """Models by result."""

    passed: int = 0
    fail: int = 0
    unknown: int = 0
    error: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``run --format json`` prints and the store keeps.

    Attributes:
        run_id: Its own name: the start as ``20260301T101500Z`` and eight random hex digits.
        started_at: RFC 3339 UTC.
        finished_at: RFC 3339 UTC.
        tool: Name and version of what ran.
        offline: Nothing was read; the latest stored snapshots were compared.
        interrupted: It was stopped; the models that were not judged are missing.
        exit_code: 4, then 1, then 3, then 0.
        counts: Models by result.
        models: In the order of the configuration.
        notes: What a reader must know besides (selection, models left out by ``--only`` …).
        errors: Why models may be missing from the list: each ``[[select]]`` that could not be
            asked. Those that are there were judged; the exit code is at least 3.
        scope: Which models were to be judged: ``all`` of the configuration, ``some`` where
            ``--only`` left models out, or those of a ``list`` (``--models``).
        asked: The ``[[select]]`` entries that were asked, as configured; whether one of them
            failed is in ``errors``. Empty with ``--offline``, which repeats the errors of the
            run whose models it takes.
        found: Names that those entries found, in ``[[model]]`` or not; with ``--offline`` those
            that were taken in their place. None: an older run, which did not say.
        bytes_read: Content bytes read.
        bytes_reused: Bytes of files whose measurement was taken over.
        requests: Requests made to sources.
        seconds: Wall time.
    """

    schema: Literal["manifestd.run/v1"] = media_types.SCHEMA_RUN
    run_id: str
    started_at: Timestamp
    finished_at: Timestamp
    tool: str
    offline: bool = False
    interrupted: bool = False
    exit_code: Literal[0, 1, 3, 4]
    counts: RunCounts
    models: list[RunModel]
    notes: list[str] = []
    errors: list[Failure] = []
    scope: Literal["all", "some", "list"] = "all"
    asked: list[dict[str, Any]] = []
    found: list[str] | None = None
    bytes_read: int = 0
    bytes_reused: int = 0
    requests: int = 0
    seconds: float = 0.0


class PlanSide(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one side of one model would cost.

    Attributes:
        reference: As configured, the template filled in.
        files: Number of files.
        bytes: Sum of their sizes.
        bytes_to_read: Sizes of the files that would be streamed.
        bytes_reusable: Sizes of the files whose measurement would be taken over.
        files_to_read: Files that would be streamed.
        headers_to_read: Files of which only tensor headers would be fetched, some KB each.
        requests: Requests for the listing, and one for each file to read; headers and
            redirects come on top.
        error: Why nothing can be said.
    """

    reference: str
    files: int = 0
    bytes: int = 0
    bytes_to_read: int = 0
    bytes_reusable: int = 0
    files_to_read: int = 0
    headers_to_read: int = 0
    requests: int = 0
    error: Failure | None = None


class PlanModel(msgspec.Struct, frozen=True, kw_only=True):
    """What one model would cost: side -> cost, the reference first."""

    name: str
    sides: dict[str, PlanSide]


class RunPlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``run --plan`` prints: what a run would do and cost. No content was read for it.

    Attributes:
        models: In the order of the configuration.
        bytes_to_read: Of all sides.
        bytes_reusable: Of all sides.
        files_to_read: Of all sides.
        requests: Of all sides.
        errors: Sides of which nothing can be said, and each ``[[select]]`` that could not be asked.
        notes: What a reader must know besides; what those said.
    """

    schema: Literal["manifestd.run-plan/v1"] = media_types.SCHEMA_RUN_PLAN
    models: list[PlanModel]
    bytes_to_read: int
    bytes_reusable: int
    files_to_read: int
    requests: int
    errors: int
    notes: list[str] = []


class StatusModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How one model stands.

    Attributes:
        name: As configured when it was last run.
        result: Of its last run.
        verdict: Of its last run.
        run: Name of its last run.
        at: When that result's oldest snapshot was taken (which may be long before a run with
            ``--offline``); when the run started, if a side has none.
        age_seconds: How long ago that was.
        last_pass: The same for its last run that passed; None: it never did.
        evidence: The weakest grade by which a file's sha256 is known, over all sides; None
            when a side has no snapshot.
        trend: Results of its last runs, oldest first.
        what: One line on what is wrong, or None.
        sides: Side -> digest of its last snapshot.
        listed: Whether it is on the list. It is not when it was run as one of the configuration's,
            and is neither in ``[[model]]`` now nor found by the last whole run.
    """

    name: str
    result: Result
    verdict: ModelVerdict | None
    run: str
    at: str
    age_seconds: int
    last_pass: str | None
    evidence: Grade | None
    trend: list[Result]
    what: str | None
    sides: dict[str, str | None]
    listed: bool = True


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``status --format json`` prints: how every model stands that was ever run.

    Attributes:
        at: Now.
        counts: Of the models that are on the list.
        models: By name.
        last_run: Name of the last run that came to its end.
        exit_code: What a run with these results and errors would end with; models that are off
            the list do not count.
        errors: Why models may be missing here: each ``[[select]]`` that could not be asked by
            the last run of the configuration's models.
    """

    schema: Literal["manifestd.status/v1"] = media_types.SCHEMA_STATUS
    at: Timestamp
    counts: RunCounts
    models: list[StatusModel]
    last_run: str | None
    exit_code: Literal[0, 1, 3, 4]
    errors: list[Failure] = []
