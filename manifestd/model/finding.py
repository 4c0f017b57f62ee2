"""Findings: what a policy objects to in one stored snapshot (``manifestd.policy/v1``)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from manifestd.model.failure import Failure
from manifestd.model.snapshot import HexDigest, Timestamp

Rule = Literal[
    "licenses", "license_disagreement", "license_changed", "required", "forbidden",
    "min_evidence", "require_signature", "max_age", "pinned", "secrets", "security",
]  # fmt: skip
"""What can be objected to: the keys of ``[policy]``, and those of ``[policy.severity]``."""

Severity = Literal["error", "warning"]

LintRule = Literal[
    "one-digest-two-models", "shards", "not-mirrored", "twins", "clash", "incomplete"
]

SCHEMA_POLICY: Final = "manifestd.policy/v1"
SCHEMA_POLICY_REPORT: Final = "manifestd.policy-report/v1"
SCHEMA_LINT: Final = "manifestd.lint/v1"

Line = Annotated[str, msgspec.Meta(min_length=1)]


class WaiverNote(msgspec.Struct, frozen=True, kw_only=True):
    """The waiver that covers a finding: who answers for it, why, and how long."""

    owner: str
    reason: str
    expires: str


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing a policy objects to.

    Attributes:
        rule: The policy's key: ``licenses``, ``forbidden`` …
        path: The file, or None when it is about the whole model.
        severity: ``error`` fails the model, unless waived; ``warning`` only tells.
        what: One line for people.
        hint: One action, if there is one.
        waived: The waiver that covers it and has not run out, or None.
        facts: The values as data; never a secret.
    """

    rule: Rule
    path: str | None = None
    severity: Severity = "error"
    what: Line
    hint: str | None = None
    waived: WaiverNote | None = None
    facts: dict[str, Any] = {}

    @property
    def fails(self) -> bool:
        """Whether it keeps the snapshot from passing."""
        return self.severity == "error" and self.waived is None


class PolicyVerdict(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What today's policy says of one stored snapshot.

    Attributes:
        snapshot: Digest of the record.
        manifest: Content identity; None while a file's sha256 is unknown.
        name: The snapshot's name.
        source: Its place.
        revision: Its revision, where the source has any.
        captured_at: When its listing was taken.
        policy: Digest of the canonical document of the policy that was applied.
        passes: No finding is an error that nobody waived.
        findings: Errors, then warnings, then waived ones.
        evaluated_at: The moment as of which waivers and ages were judged.
    """

    schema: Literal["manifestd.policy/v1"] = SCHEMA_POLICY
    snapshot: HexDigest
    manifest: HexDigest | None
    name: str
    source: str
    revision: str | None
    captured_at: Timestamp
    policy: HexDigest
    passes: bool
    findings: list[Finding]
    evaluated_at: Timestamp

    @property
    def digest(self) -> str:
        """Digest of the policy that was applied."""
        return self.policy


class PolicyReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``policy check --format json`` prints: a verdict for each snapshot asked about.

    Attributes:
        passes: Every snapshot passes and none was out of reach.
        verdicts: In the order of the references.
        errors: References that could not be judged, and why.
    """

    schema: Literal["manifestd.policy-report/v1"] = SCHEMA_POLICY_REPORT
    passes: bool
    verdicts: list[PolicyVerdict]
    errors: list[Failure] = []

    @property
    def exit_code(self) -> int:
        """4, then 1, then 3, then 0, as the contract orders them."""
        codes = {error.exit_code for error in self.errors}
        if any(not verdict.passes for verdict in self.verdicts):
            codes.add(1)
        return next((code for code in (4, 1, 3) if code in codes), max(codes, default=0))


class LintFinding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One anomaly in the store as a whole.

    Attributes:
        rule: What kind.
        what: One line for people.
        hint: One action, if there is one.
        snapshot: The snapshot it was seen in, where it is about one.
        source: The place it is about, where it is about one.
        path: The file, where it is about one.
        facts: The values as data.
    """

    rule: LintRule
    what: Line
    hint: str | None = None
    snapshot: HexDigest | None = None
    source: str | None = None
    path: str | None = None
    facts: dict[str, Any] = {}


class LintReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``lint --format json`` prints.

    Attributes:
        snapshots: How many were looked at: the latest of each place, or all.
        findings: In the order of the rules, then of the places.
    """

    schema: Literal["manifestd.lint/v1"] = SCHEMA_LINT
    snapshots: int
    findings: list[LintFinding]
