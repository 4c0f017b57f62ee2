"""``policy``: what the configured policy says of stored snapshots, today. Offline.

The verdict carries the digest of the policy that gave it: the canonical document of what was
demanded of this model. Waivers and pins of other models are no part of it, so that an
approval bound to the digest outlives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from manifestd import canonical
from manifestd.config import Config
from manifestd.config.shape import Level, Model, Policy, Severities
from manifestd.errors import ConfigError, ManifestdError
from manifestd.model.digest import Digest, of_bytes
from manifestd.model.failure import Failure, failure_of
from manifestd.model.finding import PolicyReport, PolicyVerdict, Rule, Severity
from manifestd.model.logentry import LogEntry, time_text
from manifestd.model.moment import parse_span
from manifestd.model.snapshot import Snapshot, moment_of
from manifestd.redact import redact
from manifestd.rules.licenses import Baseline
from manifestd.rules.policy import FORMAT, RULES, Demands, View, Waived, evaluate
from manifestd.store import Store
from manifestd.store.earlier import last_look, last_other
from manifestd.workflows.policy_view import FORMATS, Viewer
from manifestd.workflows.sides import sides_of

if TYPE_CHECKING:
    from manifestd.signing.trust import Trust

SCHEMA_DOCUMENT: Final = "manifestd.policy-document/v1"


def evaluate_policy(
    store: Store, config: Config, snapshot: str, now: datetime, *, trust: Trust | None = None
) -> PolicyVerdict:
    """What the policy says of one stored snapshot.

    Args:
        store: Opened for reading.
        config: Has the policy, its waivers and the models' pins.
        snapshot: Digest of the record.
        now: The moment as of which waivers, ages and approvals are judged.
        trust: The keys that count; None: those of the configuration, read when needed.

    Raises:
        NotStoredError: No such snapshot.
        TamperedError: The store does not hold what the record says.
        ConfigError: The policy names a format that there is not, or a template does not fit.
    """
    return Judge(store, config, trust=trust).verdict(snapshot, now)


def check_references(
    store: Store, config: Config, references: Sequence[str], now: datetime
) -> PolicyReport:
    """Judge each reference; what is wrong with one never hides another.

    Raises:
        ConfigError: The policy cannot be applied to anything.
    """
    judge = Judge(store, config)
    verdicts: list[PolicyVerdict] = []
    errors: list[Failure] = []
    for reference in references:
        try:
            verdicts.append(judge.verdict(store.snapshots.resolve(reference), now))
        except ConfigError:
            raise
        except ManifestdError as error:
            errors.append(_failure(reference, error))
    passes = not errors and all(verdict.passes for verdict in verdicts)
    return PolicyReport(passes=passes, verdicts=verdicts, errors=errors)


def policy_document(policy: Policy, models: Sequence[Model], names: frozenset[str]) -> bytes:
    """The canonical document of what is demanded of a model; the policy's digest is over it.

    What is set to its default, and the order of lists, make no difference.

    Args:
        policy: The section.
        models: Entries of ``[[model]]``.
        names: Names of the model it is about.
    """
    waivers = [waiver for waiver in policy.waiver if waiver.model in names]
    own = msgspec.structs.replace(policy, pinned=_pins(policy, models, names), waiver=waivers)
    document = _set(own)
    if policy.severity != Severities():
        document["severity"] = _set(policy.severity)
    for key in ("licenses", "required", "forbidden"):
        if key in document:
            document[key] = sorted(set(document[key]))
    if "waiver" in document:
        document["waiver"] = sorted(document["waiver"], key=canonical.encode)
    return canonical.encode({"schema": SCHEMA_DOCUMENT, "policy": document})


class Judge:
    """Judges snapshots of one store by one policy; what many verdicts need is made once.

    Args:
        store: Opened for reading.
        config: Has the policy.
        trust: The keys that count; None: those of the configuration.

    Raises:
        ConfigError: The policy names a format that there is not.
    """

    def __init__(self, store: Store, config: Config, *, trust: Trust | None = None) -> None:
        self._store = store
        self._config = config
        self._trust = trust
        self._approvals: dict[str, list[LogEntry]] = {}
        self._approvals_as_of: tuple[int | None, int | None] = (None, None)
        policy = config.policy
        for key in ("required", "forbidden"):
            for pattern in getattr(policy, key):
                _check_formats(config, f"policy.{key}", pattern)
        self._demands = _demands(policy)
        levels = self._demands.levels
        self._viewer = Viewer(store, secrets="secrets" in levels, security="security" in levels)
        noted = {waiver.model for waiver in policy.waiver}
        self._pinned = [model for model in config.model if model.pinned]
        self._noted = noted | {model.name for model in self._pinned}
        self._demanded_of: dict[frozenset[str], tuple[Demands, Digest]] = {}
        self._places: dict[str, set[str]] | None = None

    def verdict(self, snapshot: str, now: datetime) -> PolicyVerdict:
        """Judge one snapshot; errors as :func:`evaluate_policy`."""
        record = self._store.snapshots.load(snapshot)
        names = self._names(record)
        demands, policy = self._demanded(names)
        findings = evaluate(demands, self._view(Digest(snapshot), record, names, now), now)
        return PolicyVerdict(
            snapshot=snapshot,
            manifest=record.manifest,
            name=record.name,
            source=record.source,
            revision=record.revision,
            captured_at=record.captured_at,
            policy=policy,
            passes=not any(finding.fails for finding in findings),
            findings=findings,
            evaluated_at=time_text(now),
        )

    def _demanded(self, names: frozenset[str]) -> tuple[Demands, Digest]:
        """What is demanded of a model, and the digest of that; the same for most models."""
        noted = names & self._noted
        found = self._demanded_of.get(noted)
        if found is None:
            policy = self._config.policy
            pinned = _pins(policy, self._pinned, noted)
            document = policy_document(policy, self._pinned, noted)
            found = msgspec.structs.replace(self._demands, pinned=pinned), of_bytes(document)
            self._demanded_of[noted] = found
        return found

    def _view(self, digest: Digest, record: Snapshot, names: frozenset[str], now: datetime) -> View:
        demands = self._demands
        signature = None
        if demands.require_signature:
            from manifestd.workflows.sign import signature_of

            signature = signature_of(self._store, digest, record, self._keys())[0]
        audit = None
        if demands.max_age is not None and record.complete:
            look = last_look(self._store.snapshots, record, now)
            audit = moment_of(look.captured_at if look else record.captured_at)
        changes = "license_changed" in demands.levels
        return View(
            names=names,
            record=record,
            files=self._viewer.files(record),
            licences=self._viewer.licences(record),
            baseline=self._baseline(record, names, now) if changes else None,
            signature=signature,
            last_audit=audit,
        )

    def _keys(self) -> Trust:
        if self._trust is None:
            # cryptography is imported only where there is a signature to check.
            from manifestd.signing.trust import load_trust

            self._trust = load_trust(self._config)
        return self._trust

    # -- names ------------------------------------------------------------------------------

    def _names(self, record: Snapshot) -> frozenset[str]:
        """The snapshot's own name, and those of configured models that have a side at its place.

        A copy in S3 is called by the last part of its prefix; waivers and pins name the model.
        """
        names = {record.name}
        if self._noted:
            place = record.source.rstrip("/")
            names |= {name for name in self._noted if place in self._places_of(name)}
        return frozenset(names)

    def _places_of(self, name: str) -> set[str]:
        if self._places is None:
            self._places = {}
        if name not in self._places:
            try:
                sides = sides_of(self._config, name)
            except ConfigError:
                # A waiver may name a model that is in no [[model]] entry and fits no template.
                sides = {}
            self._places[name] = {place.rstrip("/") for place in sides.values()}
        return self._places[name]

    # -- what was before --------------------------------------------------------------------

    def _baseline(self, record: Snapshot, names: frozenset[str], now: datetime) -> Baseline | None:
        """The last approved snapshot of the model; else the last of the place with other content."""
        for entry in self._approvals_of(names):
            snapshot = entry.fact("snapshot")
            if snapshot is None or entry.moment() > now or not self._store.blobs.has(snapshot):
                continue
            if self._is_genuine(entry):
                return self._as_baseline(snapshot, "approved")
        row = last_other(self._store.snapshots, record)
        return None if row is None else self._as_baseline(row.digest, "previous")

    def _as_baseline(self, snapshot: str, kind: str) -> Baseline:
        record = self._store.snapshots.load(snapshot)
        return Baseline(
            snapshot=snapshot,
            kind=kind,
            captured_at=record.captured_at,
            licences=self._viewer.licences(record),
        )

    def _approvals_of(self, names: frozenset[str]) -> Iterator[LogEntry]:
        """Logged approvals of these names that were not revoked, newest first."""
        log = self._store.log
        # Not by the log's size: the snapshots of a run add to it between any two verdicts.
        newest = log.last("approval"), log.last("revocation")
        if newest != self._approvals_as_of:
            revoked = {entry.fact("revokes") for entry in log.entries(kinds=["revocation"])}
            found: dict[str, list[LogEntry]] = {}
            for entry in log.entries(kinds=["approval"], newest_first=True):
                if entry.document not in revoked and entry.tag is not None:
                    found.setdefault(entry.tag.rpartition(":")[0], []).append(entry)
            self._approvals, self._approvals_as_of = found, newest
        mine = [entry for name in names for entry in self._approvals.get(name, ())]
        yield from sorted(mine, key=lambda entry: entry.index, reverse=True)

    def _is_genuine(self, entry: LogEntry) -> bool:
        """Whether the approval is signed by a key that counted for approving when it was logged."""
        from manifestd.workflows.sign import judge_statement

        bundle = self._store.blobs.get(entry.document)
        check = judge_statement(bundle, self._keys(), "approve", entry.moment())
        return check.state == "verified"


def _set(section: msgspec.Struct) -> dict[str, Any]:
    """The keys of a section whose values are not the default ones, as plain values."""
    default = type(section)()
    found = {name: getattr(section, name) for name in section.__struct_fields__}
    return {
        name: msgspec.to_builtins(value)
        for name, value in found.items()
        if value != getattr(default, name)
    }


def _pins(policy: Policy, models: Sequence[Model], names: frozenset[str]) -> dict[str, str]:
    """The policy's pins, and over them those of the model itself."""
    pins = dict(policy.pinned)
    for model in models:
        if model.pinned and model.name in names:
            pins |= model.pinned
    return pins


def _demands(policy: Policy) -> Demands:
    levels: dict[Rule, Severity] = {}
    for rule in RULES:
        # Without a list of allowed licences a contradiction is worth a look, not a failure.
        default: Level = "error" if policy.licenses else "warning"
        level: Level = getattr(policy.severity, rule) or default
        if level != "off":
            levels[rule] = level
    return Demands(
        levels=levels,
        min_evidence=policy.min_evidence,
        licenses=tuple(policy.licenses),
        required=tuple(tuple(_parts(entry)) for entry in policy.required),
        forbidden=tuple(part for entry in policy.forbidden for part in _parts(entry)),
        require_signature=policy.require_signature,
        max_age=parse_span(policy.max_age) if policy.max_age else None,
        waivers=tuple(
            Waived(
                model=waiver.model,
                rule=waiver.rule,
                path=waiver.path,
                owner=waiver.owner,
                reason=waiver.reason,
                expires=waiver.expires,
            )
            for waiver in policy.waiver
        ),
    )


def _parts(entry: str) -> list[str]:
    return [part.strip() for part in entry.split("|") if part.strip()]


def _check_formats(config: Config, key: str, entry: str) -> None:
    for part in _parts(entry):
        word = part.removeprefix(FORMAT)
        if part.startswith(FORMAT) and word not in FORMATS:
            import difflib

            near = difflib.get_close_matches(word, FORMATS, n=1)
            facts: dict[str, Any] = {"key": key, "format": word}
            raise ConfigError(
                f"{config.label}: {key}: there is no format {word[:80]!r}",
                hint=f"did you mean {FORMAT}{near[0]}?"
                if near
                else "known are " + ", ".join(sorted(FORMATS)),
                facts=facts,
            )


def _failure(reference: str, error: ManifestdError) -> Failure:
    return msgspec.structs.replace(failure_of(error), facts={"reference": redact(reference)})
