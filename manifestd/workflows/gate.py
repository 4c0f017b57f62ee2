"""The release gate: are these the bytes that a tag names, and may they be used now?

A place (a directory, ``s3://…``, ``hf://…``) is looked at anew, reading what must be read; a
stored snapshot is judged without any network. What the tag names is always the measure: the
manifest must be equal, whoever signed what.
"""

from __future__ import annotations

from typing import Final

import msgspec

from manifestd.errors import (
    ManifestdError,
    NotVerifiedError,
    UndecidedError,
)
from manifestd.model.approvals import ApprovalStatus
from manifestd.model.digest import Digest
from manifestd.model.finding import Finding, PolicyVerdict
from manifestd.model.gate import CheckName, CheckState, GateCheck, GateReport, exit_code_of
from manifestd.model.logentry import time_text
from manifestd.model.snapshot import Snapshot
from manifestd.model.tag import Target, check_tag
from manifestd.store import Store
from manifestd.workflows.approvals import approval_status, verdict_of
from manifestd.workflows.desk import Desk
from manifestd.workflows.sign import signature_of
from manifestd.workflows.tags import state_of

_SHOWN: Final = 10
_WORDS: Final[dict[str, str]] = {
    "leftOnly": "missing",
    "rightOnly": "not part of what was released",
    "unverifiable": "not decided",
}

_OBSERVED: Final = frozenset({"min_evidence", "max_age", "require_signature"})
"""Rules about how and when a place was looked at; the others are about content."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What is to pass.

    Attributes:
        reference: As it was typed.
        snapshot: Digest of its snapshot; None: none could be taken.
        record: The snapshot's record.
        fresh: It was taken for this gate, so its signature says nothing further.
        contradicted: Bytes contradicted a digest that the place declares.
        carried: It came in a bundle, whose moves were logged here a moment ago.
        error: Why none could be taken.
    """

    reference: str
    snapshot: Digest | None = None
    record: Snapshot | None = None
    fresh: bool = False
    contradicted: bool = False
    carried: bool = False
    error: ManifestdError | None = None


def judge_gate(store: Store, desk: Desk, tag: str, candidate: Candidate) -> GateReport:
    """Judge whether a gate is open. Writes nothing and opens no socket.

    Args:
        store: Opened for reading; has the candidate's snapshot.
        desk: Has the rules, the policy, the keys and the time.
        tag: ``NAME:TAG``.
        candidate: What is to pass.

    Raises:
        UsageError: Not a tag.
        ConfigError: The policy is not usable.
        TamperedError: The store is damaged.
    """
    return _Gate(store, desk, check_tag(tag), candidate).report()


class _Gate:
    """One judgement; its methods are its checks, in order."""

    def __init__(self, store: Store, desk: Desk, tag: str, candidate: Candidate) -> None:
        self.store = store
        self.desk = desk
        self.tag = tag
        self.candidate = candidate
        self.record = candidate.record
        self.released: Target | None = None
        self.verdict: PolicyVerdict | None = None
        self.status: ApprovalStatus | None = None
        self.checks: list[GateCheck] = []

    def report(self) -> GateReport:
        """Look at everything, also after something is wrong: all of it is to be told at once."""
        self._tag()
        self._bytes()
        self._signature()
        self._policy()
        self._approvals()
        code = exit_code_of(self.checks)
        return GateReport(
            tag=self.tag,
            reference=self.candidate.reference,
            open=code == 0,
            exit_code=code,
            at=time_text(self.desk.now),
            fresh=self.candidate.fresh,
            source=self.record.source if self.record else None,
            snapshot=self.candidate.snapshot,
            manifest=self.record.manifest if self.record else None,
            released=self.released,
            policy=self.verdict.policy if self.verdict else None,
            checks=self.checks,
            approvals=self.status,
        )

    def _add(
        self,
        name: CheckName,
        state: CheckState,
        what: str,
        *,
        details: list[str] | None = None,
        opens: str | None = None,
    ) -> None:
        self.checks.append(
            GateCheck(name=name, state=state, what=what, details=details or [], opens=opens)
        )

    def _tag(self) -> None:
        move = self.store.tags.last_move(self.tag)
        if move is None or move.claim.to is None:
            what = f"{self.tag} names nothing" + (", it was deleted" if move else "")
            shown = self.candidate.snapshot or self.candidate.reference
            self._add("tag", "closed", what, opens=f"manifestd tag {self.tag} {shown}")
            return
        self.released = move.claim.to
        state = state_of(move, self.desk.trust)
        if state.signature == "verified":
            since = move.claim.at if self.candidate.carried else state.since
            what = f"names {state.snapshot} since {since[:19]}Z, by {state.by}"
            self._add("tag", "ok", what)
        else:
            self._add(
                "tag", "invalid", f"the move by {state.by} is {state.signature}: {state.why}",
                opens=f"have it moved by a key that may: manifestd tag {self.tag} …",
            )  # fmt: skip

    def _bytes(self) -> None:
        error = self.candidate.error
        if error is not None:
            state: CheckState = "invalid" if isinstance(error, NotVerifiedError) else "unknown"
            details = [error.why] if error.why else []
            opens = error.hint or f"is {self.candidate.reference} where the files are?"
            self._add("bytes", state, error.what, details=details, opens=opens)
            return
        assert self.record is not None
        if self.candidate.contradicted:
            self._add(
                "bytes", "invalid", "bytes contradict the digest that the place declares",
                details=[
                    f"{problem.path}: {problem.what}" for problem in self.record.problems
                    if problem.severity == "mismatch"
                ][:_SHOWN],
                opens="copy the files again",
            )  # fmt: skip
        elif self.released is None:
            self._add("bytes", "unknown", "there is nothing to compare with")
        elif self.record.manifest == self.released.manifest and self.record.complete:
            ignored = self.record.selection.ignore
            left_out = f", {', '.join(ignored)} left out" if ignored else ""
            what = f"the {self.record.files} files are those that the tag names{left_out}"
            self._add("bytes", "ok", what, details=[self.released.manifest])
        else:
            self._differing(self.released)

    def _differing(self, released: Target) -> None:
        from manifestd.workflows.compare import compare_stored

        assert self.candidate.snapshot is not None
        found = compare_stored(self.store, (Digest(released.snapshot), self.candidate.snapshot))
        others = [file for file in found.files if file.verdict != "identical"]
        sure = [file for file in others if file.verdict != "unverifiable"]
        details = [
            f"{file.path}: {_WORDS.get(file.verdict, file.verdict)}"
            for file in (sure or others)[:_SHOWN]
        ]
        if len(sure or others) > _SHOWN:
            details.append(f"{len(sure or others) - _SHOWN} more")
        look = f"manifestd diff {released.snapshot} {self.candidate.snapshot}"
        if sure:
            are = "file is not one" if len(sure) == 1 else "files are not among those"
            what = f"{len(sure)} {are} that the tag names"
            self._add("bytes", "closed", what, details=details,
                      opens=f"deploy what {self.tag} names; see {look}")  # fmt: skip
        else:
            self._add("bytes", "unknown", "not every file's sha256 is known", details=details,
                      opens=f"take the snapshot again with --read all; see {look}")  # fmt: skip

    def _signature(self) -> None:
        """The released snapshot must be signed; so must another one that is not taken now."""
        about: list[tuple[str, str, Snapshot]] = []
        if self.released is not None:
            digest = self.released.snapshot
            about.append((f"{self.tag}'s snapshot", digest, self.store.snapshots.load(digest)))
        mine = self.candidate.snapshot
        if (
            mine
            and self.record
            and not self.candidate.fresh
            and mine not in {d for _, d, _ in about}
        ):
            about.append((self.candidate.reference, mine, self.record))
        states = [
            (name, *signature_of(self.store, digest, record, self.desk.trust))
            for name, digest, record in about
        ]
        bad = [(name, state) for name, state, _ in states if state != "verified"]
        if bad:
            what = "; ".join(f"{name} is {state}" for name, state in bad)
            self._add("signature", "invalid", what,
                      opens="take the snapshot again, signed with a key that is trusted")  # fmt: skip
        elif states:
            people = dict.fromkeys(person for _, _, names in states for person in names)
            what = f"signed by {', '.join(people)}"
            if self.candidate.fresh and mine:
                what += "; the place was read for this gate"
            self._add("signature", "ok", what)
        else:
            self._add("signature", "unknown", "there is no snapshot whose signature counts")

    def _policy(self) -> None:
        """Evidence is told apart from the other rules: more of it needs other reading."""
        if self.candidate.snapshot is None or self.record is None:
            self._add("evidence", "unknown", "there is no snapshot to judge")
            self._add("policy", "unknown", "there is no snapshot to judge")
            return
        try:
            self.verdict = verdict_of(self.store, self.desk, self._judged())
            seen = self.verdict
            if seen.snapshot != self.candidate.snapshot:
                seen = verdict_of(self.store, self.desk, self.candidate.snapshot)
        except UndecidedError as error:
            self._add("policy", "unknown", error.what, opens=error.hint)
            return
        failing = [f for f in self.verdict.findings if f.fails and f.rule not in _OBSERVED]
        failing += [f for f in seen.findings if f.fails and f.rule in _OBSERVED]
        weak = [finding for finding in failing if finding.rule == "min_evidence"]
        rest = [finding for finding in failing if finding.rule != "min_evidence"]
        grades = self.record.evidence
        counts = grades.told()
        if weak:
            # What was measured before and is unchanged is weak only where all must be measured now.
            anew = len(weak) > self.record.files - grades.measured - grades.reused
            opens = "take the snapshot again with --read all"
            if anew:
                opens += " --fresh, and gate that with --offline"
            self._add("evidence", "closed", f"not strong enough: {counts}", details=_lines(weak),
                      opens=opens)  # fmt: skip
        elif not self.record.complete:
            self._add("evidence", "unknown", f"the snapshot is incomplete: {counts}",
                      opens="take the snapshot again with --read all")  # fmt: skip
        else:
            self._add("evidence", "ok", counts)
        if rest:
            self._add("policy", "closed", f"{len(rest)} finding{'s' * (len(rest) > 1)}", details=_lines(rest),
                      opens="mend what it finds, or waive it by [[policy.waiver]]")  # fmt: skip
        else:
            self._add("policy", "ok", f"passes {self.verdict.policy}")

    def _judged(self) -> str:
        """Whose content the policy judges: of equal bytes those that the tag names.

        A copy is not called as the model is, and waivers are for the model.
        """
        assert self.candidate.snapshot is not None
        assert self.record is not None
        released = self.released
        if released is not None and self.record.manifest == released.manifest:
            return released.snapshot
        return self.candidate.snapshot

    def _approvals(self) -> None:
        """They are about what the tag names; as long as it names nothing, about the candidate."""
        about = self.released.snapshot if self.released else self.candidate.snapshot
        complete = self.released is not None or (self.record is not None and self.record.complete)
        if about is None or not complete:
            self._add("approvals", "unknown", "there are no bytes that could be approved")
            return
        known = self.verdict if self.verdict and self.verdict.snapshot == about else None
        status = approval_status(self.store, self.desk, self.tag, about, verdict=known)
        self.status = status
        if not status.required:
            self._add("approvals", "ok", "no rule demands any")
        elif status.holds:
            people = sorted({name for need in status.needs for name in need.have})
            until = f", until {status.holds_until[:19]}Z" if status.holds_until else ""
            self._add("approvals", "ok", f"by {', '.join(people)}{until}")
        else:
            gone = [f"{a.person}'s does not count: {a.why}" for a in status.approvals if a.why]
            self._add(
                "approvals", "closed", f"missing: {'; '.join(status.missing())}",
                details=gone[-_SHOWN:],
                opens=f"manifestd approve {self.tag} {about} --request -o request.json",
            )  # fmt: skip


def _lines(findings: list[Finding]) -> list[str]:
    lines = [
        f"{finding.rule}: {f'{finding.path}: ' if finding.path else ''}{finding.what}"
        for finding in findings[:_SHOWN]
    ]
    if len(findings) > _SHOWN:
        lines.append(f"{len(findings) - _SHOWN} more")
    return lines
