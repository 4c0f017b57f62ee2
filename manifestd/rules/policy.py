"""What a policy objects to in one snapshot: pure, from what the store knows of it.

A rule that needs a setting is asked only where it is given. Nothing passes because it was not
looked at: what could not be judged is said as a finding of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, get_args

import msgspec

from manifestd.model.change import SignatureState
from manifestd.model.entry import Role
from manifestd.model.evidence import Grade, at_least
from manifestd.model.finding import Finding, Rule, Severity, WaiverNote
from manifestd.model.snapshot import Snapshot
from manifestd.rules.globs import matches
from manifestd.rules.licenses import Baseline, Licences
from manifestd.rules.policy_licenses import Objection, licence_objections
from manifestd.rules.secrets import Secret

RULES: Final[tuple[Rule, ...]] = get_args(Rule)
MAX_LISTED: Final = 100
"""Findings listed of one rule; the rest is counted in one more."""

FORMAT: Final = "format:"
"""What a pattern begins with that names a format instead of a path."""

_CLOCK_SKEW: Final = timedelta(hours=1)


class Waived(msgspec.Struct, frozen=True, kw_only=True):
    """One exception; see ``[[policy.waiver]]``."""

    model: str
    rule: Rule
    path: str | None
    owner: str
    reason: str
    expires: datetime

    def covers(self, names: Iterable[str], rule: Rule, path: str | None) -> bool:
        """Whether it is about such a finding, expired or not."""
        if self.model not in names or self.rule != rule:
            return False
        if self.path is None:
            return True
        return path is not None and (path == self.path or matches(path, self.path))

    def note(self) -> WaiverNote:
        """Whose it is, why, and until when."""
        return WaiverNote(owner=self.owner, reason=self.reason, expires=self.expires.isoformat())


class Demands(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as rules see it: the configuration's section, with spans and patterns parsed.

    Attributes:
        levels: Rule -> what its findings are; a rule that is absent is off.
        required: For each demand its alternatives, of which one must match a file.
    """

    levels: Mapping[Rule, Severity]
    min_evidence: Grade | None = None
    licenses: tuple[str, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    forbidden: tuple[str, ...] = ()
    require_signature: bool = False
    max_age: timedelta | None = None
    pinned: Mapping[str, str] = {}
    waivers: tuple[Waived, ...] = ()


class ViewFile(NamedTuple):
    """One file as a policy sees it.

    Attributes:
        format: ``safetensors``, ``pickle``, ``json`` …; empty when none is known.
        secrets: What was found in its bytes; None: it is text, and its bytes are not kept.
        findings: What a format reader warned of; None: it can warn, and has not read the file.
    """

    path: str
    sha256: str | None
    grade: Grade
    role: Role
    format: str = ""
    secrets: tuple[Secret, ...] | None = ()
    findings: tuple[Mapping[str, Any], ...] | None = ()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot with what its rules need to know.

    Attributes:
        names: Names that waivers may call it by.
        record: Its record.
        files: Its files in path order; gone through once.
        licences: What is said of its licence.
        baseline: What its licence was.
        signature: State of its signatures; None: not looked at.
        last_audit: When somebody last looked at the place and saw just this, completely.
    """

    names: frozenset[str]
    record: Snapshot
    files: Iterable[ViewFile]
    licences: Licences = Licences()
    baseline: Baseline | None = None
    signature: SignatureState | None = None
    last_audit: datetime | None = None


def evaluate(demands: Demands, view: View, now: datetime) -> list[Finding]:
    """Everything the policy objects to: errors, then warnings, then what is waived.

    Args:
        demands: The policy.
        view: The snapshot.
        now: The moment as of which waivers and ages are judged.
    """
    evaluation = _Evaluation(demands, view, now)
    for file in view.files:
        evaluation.file(file)
    evaluation.whole()
    return evaluation.finish()


class _Evaluation:
    """One pass over one snapshot; memory does not grow with its files."""

    def __init__(self, demands: Demands, view: View, now: datetime) -> None:
        self.demands = demands
        self.view = view
        self.now = now
        self.listed: dict[Rule, list[Finding]] = {}
        self.more: dict[Rule, Counter[str]] = {}
        self.met: set[int] = set()
        self.pinned: set[str] = set()
        self.unsearched = self.unread = 0
        self._has_globs = bool(demands.required or demands.forbidden or demands.pinned)

    def add(self, objection: Objection) -> None:
        """Note an objection, with the waiver that covers it or did until it ran out."""
        rule, path, what = objection.rule, objection.path, objection.what
        level = self.demands.levels.get(rule)
        if level is None:
            return
        waivers = [w for w in self.demands.waivers if w.covers(self.view.names, rule, path)]
        good = next((waiver for waiver in waivers if waiver.expires >= self.now), None)
        facts = dict(objection.facts)
        if waivers and good is None:
            late = max(waivers, key=lambda waiver: waiver.expires)
            what += f" (the waiver of {late.owner} ran out on {late.expires:%Y-%m-%d})"
            facts["expiredWaiver"] = msgspec.to_builtins(late.note())
        finding = Finding(
            rule=rule,
            path=path,
            severity="warning" if objection.only_warn else level,
            what=what,
            hint=None if good else objection.hint,
            waived=good.note() if good else None,
            facts=facts,
        )
        listed = self.listed.setdefault(rule, [])
        if len(listed) < MAX_LISTED:
            listed.append(finding)
        else:
            kind = "waived" if finding.waived else finding.severity
            self.more.setdefault(rule, Counter())[kind] += 1

    # -- files ------------------------------------------------------------------------------

    def file(self, file: ViewFile) -> None:
        """Hold one file against every rule about files."""
        if self._has_globs:
            self._globs(file)
        minimum = self.demands.min_evidence
        if minimum is not None and not at_least(file.grade, minimum):
            how = "unknown" if file.grade == "none" else f"only {file.grade}"
            self.add(
                Objection(
                    rule="min_evidence",
                    path=file.path,
                    what=f"its sha256 is {how}; the policy asks for {minimum}",
                    # Whatever is read once is reused by the next run: to ask for more is
                    # to ask for a fresh snapshot before each.
                    hint='accept what was measured before and has not changed: min_evidence = "reused"'
                    "; or take the snapshot again with --read all --fresh"
                    if file.grade == "reused"
                    else "take the snapshot again with --read all",
                    facts={"evidence": file.grade},
                )
            )
        if file.secrets != () or file.findings != ():
            self._inside(file)

    def _globs(self, file: ViewFile) -> None:
        for number, alternatives in enumerate(self.demands.required):
            if number not in self.met and any(_is(file, pattern) for pattern in alternatives):
                self.met.add(number)
        pattern = next((p for p in self.demands.forbidden if _is(file, p)), None)
        if pattern is not None:
            self.add(
                Objection(
                    rule="forbidden",
                    path=file.path,
                    what=f"the policy forbids {pattern}",
                    hint="remove it at the source, or waive the rule for this path",
                    facts={"pattern": pattern},
                )
            )
        for pattern, digest in self.demands.pinned.items():
            if matches(file.path, pattern):
                self.pinned.add(pattern)
                self._pin(file, pattern, digest)

    def _pin(self, file: ViewFile, pattern: str, digest: str) -> None:
        found = f"sha256:{file.sha256}" if file.sha256 else None
        if found == digest:
            return
        what = "is pinned, and its sha256 is unknown"
        if found is not None:
            what = f"is {found[:19]}… and not the pinned {digest[:19]}…"
        self.add(
            Objection(
                rule="pinned",
                path=file.path,
                what=what,
                hint="restore the approved file, or pin the new one",
                facts={"pattern": pattern, "expected": digest, "found": found},
            )
        )

    def _inside(self, file: ViewFile) -> None:
        self.unsearched += file.secrets is None
        self.unread += file.findings is None
        for secret in file.secrets or ():
            self.add(
                Objection(
                    rule="secrets",
                    path=file.path,
                    what=f"{_a(secret.kind)} in line {secret.line}",
                    hint="revoke it now: whoever can read the file has it; then remove it",
                    facts={"kind": secret.kind, "line": secret.line},
                )
            )
        for finding in file.findings or ():
            parts = {key: str(finding.get(key, ""))[:1000] for key in ("rule", "at", "what")}
            self.add(
                Objection(
                    rule="security",
                    path=file.path,
                    what=parts["what"] or "a format reader warns of it",
                    hint="load the file only where what it imports or runs is wanted",
                    facts={"finding": parts["rule"], "at": parts["at"]},
                )
            )

    # -- the whole --------------------------------------------------------------------------

    def whole(self) -> None:
        """Hold the snapshot as a whole against the rules about it."""
        for number, alternatives in enumerate(self.demands.required):
            if number not in self.met:
                what = f"no file is {' or '.join(alternatives)}"
                hint = "add such a file at the source, or correct policy.required"
                facts = {"patterns": list(alternatives)}
                self.add(Objection(rule="required", what=what, hint=hint, facts=facts))
        for pattern, digest in self.demands.pinned.items():
            if pattern not in self.pinned:
                what = f"nothing is {pattern}, which is pinned"
                pin = {"pattern": pattern, "expected": digest}
                hint = "restore the file, or take its pin out of the configuration"
                self.add(Objection(rule="pinned", what=what, hint=hint, facts=pin))
        self._unseen(
            "secrets", self.unsearched, "{} not searched: the bytes are not kept",
            "take the snapshot again without --read none; pointers (git lfs pull) and texts too "
            "large to keep stay unsearched",
        )  # fmt: skip
        self._unseen(
            "security", self.unread, "{} not looked into, of a kind that can run code",
            "take the snapshot with --read missing; what still is not read is a pointer "
            "(git lfs pull) or not what its name says",
        )  # fmt: skip
        self._signature()
        self._age()
        for objection in licence_objections(
            self.view.licences, self.view.baseline, self.demands.licenses
        ):
            self.add(objection)

    def _unseen(self, rule: Rule, count: int, what: str, hint: str) -> None:
        if count:
            files = f"{count} file{' was' if count == 1 else 's were'}"
            self.add(
                Objection(
                    rule=rule,
                    what=what.format(files),
                    hint=hint,
                    only_warn=True,
                    facts={"files": count},
                )
            )

    def _signature(self) -> None:
        state = self.view.signature
        if not self.demands.require_signature or state == "verified":
            return
        what = {
            None: "its signatures were not checked",
            "unsigned": "it is not signed",
            "untrusted": "no signature is by a key that counts here",
            "invalid": "a signature is invalid",
        }[state]
        hint = "manifestd verify says more"
        facts = {"signature": state}
        self.add(Objection(rule="require_signature", what=what, hint=hint, facts=facts))

    def _age(self) -> None:
        limit, last = self.demands.max_age, self.view.last_audit
        if limit is None:
            return
        hint = "take a new snapshot"
        if last is None:
            what = "it was never seen completely"
        elif last - self.now > _CLOCK_SKEW:
            what = f"it says that it was taken in the future, on {last:%Y-%m-%d}"
            hint = "check the clocks"
        elif self.now - last > limit:
            what = f"it was last looked at on {last:%Y-%m-%d}, more than {_span(limit)} ago"
        else:
            return
        facts = {"lastAudit": last.isoformat() if last else None}
        self.add(Objection(rule="max_age", what=what, hint=hint, facts=facts))

    # -- the end ----------------------------------------------------------------------------

    def finish(self) -> list[Finding]:
        """All findings, worst first, and what was not listed in one more for each rule."""
        found = [finding for rule in RULES for finding in self.listed.get(rule, ())]
        for rule, rest in self.more.items():
            for kind, count in sorted(rest.items()):
                note = WaiverNote(owner="several", reason="see the waivers", expires="")
                found.append(
                    Finding(
                        rule=rule,
                        severity="warning" if kind == "warning" else "error",
                        what=f"{count} more findings of this rule, not listed",
                        hint=None if kind == "waived" else "mend those that are listed first",
                        waived=note if kind == "waived" else None,
                        facts={"more": count},
                    )
                )
        return sorted(found, key=lambda finding: (finding.waived is not None, finding.severity))


def _is(file: ViewFile, pattern: str) -> bool:
    if pattern.startswith(FORMAT):
        return file.format == pattern.removeprefix(FORMAT)
    return matches(file.path, pattern)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


def _span(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
