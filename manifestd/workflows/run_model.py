"""One model of a run: snapshot its sides, compare them, ask the policy, conclude.

Whatever goes wrong here is this model's own: it is written down, and others go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from manifestd import canonical
from manifestd.config import Config
from manifestd.errors import ManifestdError, NotStoredError
from manifestd.model.change import Diff, FileDiff, ModelVerdict, Result
from manifestd.model.digest import Digest
from manifestd.model.entry import Problem
from manifestd.model.failure import Failure, failure_of
from manifestd.model.reference import HubReference, OciReference, Reference
from manifestd.model.run import RESULTS, RunFinding, RunModel, RunSide
from manifestd.model.snapshot import Snapshot
from manifestd.redact import redact
from manifestd.rules.verdicts import exit_code
from manifestd.signing.base import Signer
from manifestd.store import Store
from manifestd.workflows.company import Company
from manifestd.workflows.compare import compare_stored
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.policy import Judge
from manifestd.workflows.run_plan import Planned, PlannedModel, UnfitModel
from manifestd.workflows.run_sign import sign_comparison
from manifestd.workflows.snapshot import ProgressFor, take_snapshot

if TYPE_CHECKING:
    from manifestd.signing.trust import Trust

log = logging.getLogger(__name__)

MAX_FILES: Final = 200
"""Files of one diff that a run keeps; ``manifestd diff`` shows all."""

MAX_CHANGES: Final = 20
"""Changes of one file that a run keeps."""

MAX_PROBLEMS: Final = 20
"""Problems of one side that a run keeps."""

_VERDICTS: Final[tuple[ModelVerdict, ...]] = (
    "identical", "equivalent", "moved", "unverifiable", "different",
)  # fmt: skip
_SHOWN_FIRST: Final = {"different": 0, "leftOnly": 0, "rightOnly": 0, "moved": 1, "unverifiable": 2}
_SEVERITIES: Final = {"mismatch": 0, "error": 1, "note": 2}


class Judging(msgspec.Struct, frozen=True, kw_only=True):
    """What all models of a run have in common.

    Attributes:
        config: Read mode, ignored files, policy.
        tool: Name and version for records.
        run_id: Name of the run.
        offline: Compare what is stored; ask no source.
        every_file: Name identical files too, which reads both lists whole.
        jobs: Files read at once, over all models.
        retry_budget: Seconds that one request may spend on retries.
        company: What snapshots share.
        signer: Signs snapshots and comparisons; None: unsigned.
        trust: The keys that count.
        clock: Now.
        progress: Told of what is read; None: nobody is.
        own_outputs: Paths that manifestd itself writes.
    """

    config: Config
    tool: str
    run_id: str
    offline: bool
    every_file: bool
    jobs: int
    retry_budget: float
    company: Company
    signer: Signer | None
    trust: Callable[[], Trust]
    clock: Callable[[], datetime]
    progress: ProgressFor | None
    own_outputs: tuple[str, ...] = ()


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One model's part of the run, and the signed statements about its comparisons."""

    model: RunModel
    statements: list[bytes] = []


class ModelJudge:
    """Judges models with one store; several threads may, each a model.

    Args:
        judging: What is common.
        store: Used while the company's :attr:`~Company.thinking` is held.
    """

    def __init__(self, judging: Judging, store: Store) -> None:
        self._common = judging
        self._store = store
        self._policy = Judge(store, judging.config)

    def judge(self, planned: Planned) -> Judged:
        """Judge one model. Raises nothing that is only this model's concern."""
        if isinstance(planned, UnfitModel):
            return Judged(model=_unfit(planned))
        started = time.monotonic()
        sides: dict[str, RunSide] = {}
        digests: dict[str, Digest] = {}
        for name, reference in planned.sides.items():
            sides[name], digest = self._side(planned, reference)
            if digest is not None:
                digests[name] = digest
        with self._common.company.thinking:
            return self._concluded(planned, sides, digests, started)

    def _concluded(
        self,
        planned: PlannedModel,
        sides: dict[str, RunSide],
        digests: dict[str, Digest],
        started: float,
    ) -> Judged:
        """Compare the sides, hold them against the policy, sign what was found."""
        part = _Part(planned.reference, sides)
        try:
            part.diffs.update(self._diffs(planned, digests))
        except ManifestdError as error:
            part.error = failure_of(error)
        except Exception as error:  # a defect must not hide the other models
            part.error = _defect(error)
        try:
            part.policy = [*self._findings(digests, sides)]
        except ManifestdError as error:
            part.error = part.error or failure_of(error)
        except Exception as error:
            part.error = part.error or _defect(error)
        seconds = round(time.monotonic() - started, 3)
        model, statements = part.concluded(planned.name, seconds), []
        try:
            statements = self._statements(model)
        except ManifestdError as error:
            part.error = part.error or failure_of(error)
            model = part.concluded(planned.name, seconds)
        digests_of = ["sha256:" + canonical.sha256_hex(statement) for statement in statements]
        model = msgspec.structs.replace(model, attestations=digests_of)
        return Judged(model=model, statements=statements)

    # -- sides ------------------------------------------------------------------------------

    def _side(self, planned: PlannedModel, reference: Reference) -> tuple[RunSide, Digest | None]:
        empty = RunSide(reference=str(reference))
        started = time.monotonic()
        try:
            if self._common.offline:
                with self._common.company.thinking:
                    digest, record = self._stored(planned.name, reference)
                return _side_of(empty, digest, record), digest
            taken = take_snapshot(
                self._request(planned, reference),
                store=self._store,
                tool=self._common.tool,
                signer=self._common.signer,
                progress=self._common.progress,
                clock=self._common.clock,
                company=self._common.company,
            )
        except ManifestdError as error:
            failure = failure_of(error)
        except Exception as error:
            failure = _defect(error)
        else:
            digest = Digest(taken.result.snapshot)
            side = _side_of(empty, digest, taken.record)
            return msgspec.structs.replace(
                side,
                bytes_read=taken.result.bytes_read,
                bytes_reused=taken.bytes_reused,
                requests=taken.result.requests,
                seconds=taken.result.seconds,
            ), digest
        seconds = round(time.monotonic() - started, 3)
        return msgspec.structs.replace(empty, error=failure, seconds=seconds), None

    def _request(self, planned: PlannedModel, reference: Reference) -> SnapshotRequest:
        defaults = self._common.config.defaults
        return SnapshotRequest(
            reference=reference,
            read=defaults.read,
            ignore=tuple(defaults.ignore),
            name=planned.name,
            regions=defaults.regions,
            jobs=self._common.jobs,
            own_outputs=self._common.own_outputs,
            retry_budget=self._common.retry_budget,
        )

    def _stored(self, name: str, reference: Reference) -> tuple[Digest, Snapshot]:
        revision = None
        if isinstance(reference, HubReference):
            revision = reference.revision
        elif isinstance(reference, OciReference):
            revision = reference.digest or reference.tag
        found = self._store.snapshots.latest(reference.place(), revision)
        if found is None and isinstance(reference, HubReference):
            # What a run took of a repository that is called otherwise now lies under that name.
            found = self._store.snapshots.renamed(reference, name)
        if found is None:
            raise NotStoredError(
                f"there is no snapshot of {reference} in the store",
                hint="run without --offline once, or take it with `manifestd snapshot`",
                facts={"reference": str(reference)},
            )
        return found

    # -- comparisons ------------------------------------------------------------------------

    def _diffs(
        self, planned: PlannedModel, digests: Mapping[str, Digest]
    ) -> Iterator[tuple[str, Diff]]:
        left = digests.get(planned.reference)
        for name, right in digests.items():
            if left is None or name == planned.reference:
                continue
            found = compare_stored(
                self._store, (left, right), trust=self._common.trust, paths=planned.paths,
                list_identical=self._common.every_file,
            )  # fmt: skip
            yield name, bounded(found)

    def _findings(
        self, digests: Mapping[str, Digest], sides: dict[str, RunSide]
    ) -> Iterator[RunFinding]:
        """Of every side; what holds of equal content is said once."""
        said: set[tuple[Any, ...]] = set()
        now = self._common.clock()
        for name, digest in digests.items():
            verdict = self._policy.verdict(digest, now)
            sides[name] = msgspec.structs.replace(sides[name], policy=verdict.policy)
            for finding in verdict.findings:
                key = (verdict.manifest, finding.rule, finding.path, finding.what)
                if verdict.manifest is not None and key in said:
                    continue
                said.add(key)
                yield RunFinding(
                    side=name,
                    policy=verdict.policy,
                    rule=finding.rule,
                    path=finding.path,
                    severity=finding.severity,
                    what=finding.what,
                    hint=finding.hint,
                    waived=msgspec.to_builtins(finding.waived),
                    facts=finding.facts,
                )

    def _statements(self, model: RunModel) -> list[bytes]:
        """One signed statement for each comparison."""
        signer = self._common.signer
        if signer is None:
            return []
        at = self._common.clock()
        return [
            sign_comparison(diff, model, self._common.run_id, at, signer) for diff in model.diffs
        ]


class _Part:
    """What is known of a model so far."""

    def __init__(self, reference: str, sides: dict[str, RunSide]) -> None:
        self.reference = reference
        self.sides = sides
        self.diffs: dict[str, Diff] = {}
        self.policy: list[RunFinding] = []
        self.error: Failure | None = None

    def concluded(self, name: str, seconds: float) -> RunModel:
        """The model's part of the run's document."""
        errors = [side.error for side in self.sides.values() if side.error is not None]
        error = self.error or (errors[0] if errors else None)
        if self.error is not None:
            errors.append(self.error)
        wrong = any(p.severity == "mismatch" for side in self.sides.values() for p in side.problems)
        results: set[Result] = {diff.result for diff in self.diffs.values()}
        results |= {"error"} if errors else set()
        if wrong or any(f.severity == "error" and f.waived is None for f in self.policy):
            results.add("fail")
        result = next(found for found in RESULTS if found in results)
        codes = {exit_code(diff) for diff in self.diffs.values()}
        codes |= {item.exit_code for item in errors} | ({4} if wrong else set())
        verdicts = [diff.verdict for diff in self.diffs.values()]
        return RunModel(
            name=name,
            result=result,
            verdict=max(verdicts, key=_VERDICTS.index) if verdicts else None,
            exit_code=_code(result, codes),
            reference=self.reference,
            sides=self.sides,
            compared=[*self.diffs],
            diffs=[*self.diffs.values()],
            policy=self.policy,
            error=error,
            seconds=seconds,
        )


def _unfit(planned: UnfitModel) -> RunModel:
    """What is said of a model that is not looked at: where it would be, and why not."""
    sides = {name: RunSide(reference=text) for name, text in planned.sides.items()}
    part = _Part(planned.reference, sides)
    part.error = planned.error
    return part.concluded(planned.name, 0.0)


def _code(result: Result, codes: set[int]) -> Literal[0, 1, 3, 4]:
    """4, then 1, then 3: what does not verify is told before what differs."""
    if 4 in codes:
        return 4
    if result == "fail":
        return 1
    return 0 if result == "pass" else 3


def bounded(diff: Diff) -> Diff:
    """A diff small enough to be kept for every model of every run; notes say what was left out."""
    files = diff.files
    notes = list(diff.notes)
    if len(files) > MAX_FILES:
        worst = sorted(files, key=lambda file: _SHOWN_FIRST.get(file.verdict, 3))[:MAX_FILES]
        files = sorted(worst, key=lambda file: file.path.encode())
        notes.append(
            f"{len(diff.files) - MAX_FILES} further files are not listed: "
            f"manifestd diff {diff.left.snapshot} {diff.right.snapshot} --changes-only"
        )
    return msgspec.structs.replace(diff, files=[_shortened(file) for file in files], notes=notes)


def _shortened(file: FileDiff) -> FileDiff:
    if len(file.changes) <= MAX_CHANGES:
        return file
    more = file.more_changes + len(file.changes) - MAX_CHANGES
    return msgspec.structs.replace(file, changes=file.changes[:MAX_CHANGES], more_changes=more)


def _side_of(side: RunSide, digest: Digest, record: Snapshot) -> RunSide:
    problems = sorted(record.problems, key=lambda problem: _SEVERITIES[problem.severity])
    if len(problems) > MAX_PROBLEMS:
        more = len(problems) - MAX_PROBLEMS
        what = f"{more} further problems are not listed: manifestd show {digest}"
        problems[MAX_PROBLEMS:] = [Problem(code="more-problems", what=what, severity="note")]
    return msgspec.structs.replace(
        side,
        snapshot=digest,
        manifest=record.manifest,
        revision=record.revision,
        captured_at=record.captured_at,
        complete=record.complete,
        evidence=record.evidence,
        files=record.files,
        bytes=record.bytes,
        problems=problems,
    )


def _defect(error: Exception) -> Failure:
    log.debug("a defect", exc_info=error)
    return Failure(
        code="defect",
        what=f"a defect in manifestd: {type(error).__name__}: {redact(str(error))[:300]}",
        why=None,
        hint="run again with --verbose and report the trace",
        facts={},
        exit_code=70,
    )
