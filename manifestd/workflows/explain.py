"""What is behind a difference, from the evidence in the store: meaning, tensors, damage, impact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from manifestd.errors import MalformedError
from manifestd.formats import findings_of, pointers, reader_for
from manifestd.formats.base import Explanation
from manifestd.formats.names import body_limit
from manifestd.model.change import Change, FileDiff
from manifestd.model.chunks import decode_chunks
from manifestd.model.entry import Chunks, File, Problem
from manifestd.model.evidence import Grade, at_least
from manifestd.model.lfs_pointer import Pointer
from manifestd.rules.compare import About
from manifestd.rules.gaps import closing, naming
from manifestd.rules.impact import assess
from manifestd.rules.layouts import is_composite, part_digests
from manifestd.rules.pointers import in_words, is_pointer
from manifestd.rules.secrets import hide, secret_values
from manifestd.store import Store

MAX_CHANGES: Final = 300

Facts = dict[str, Any]


class Explainer:
    """Explains files of one store. Says nothing where the store holds nothing to say it from.

    Attributes:
        findings: What readers warned of on the right side and not on the left, so far.
    """

    def __init__(self, store: Store, min_evidence: Grade = "none") -> None:
        self._store = store
        self._min_evidence = min_evidence
        self.findings: list[Facts] = []

    def about(self, file: File, problem: Problem | None, place: str) -> About:
        """What judging may need of a side besides the file: its chunk digests, its problem."""
        return About(chunks=self.chunks(file), problem=problem, place=place)

    def chunks(self, file: File) -> list[Chunks]:
        """Digests of a file's pieces, under each layout that is known."""
        chunks = [
            found
            for algorithm in file.seen.digests
            if is_composite(algorithm) and (found := part_digests(file, algorithm)) is not None
        ]
        if file.seen.chunks is not None and self._store.blobs.has(file.seen.chunks):
            data = self._store.blobs.get(file.seen.chunks)
            chunks += decode_chunks(data)
        return chunks

    def explained(
        self, diff: FileDiff, left: File, right: File, places: tuple[str, str]
    ) -> FileDiff:
        """Add meaning to a ``different`` file; ``equivalent`` only where its reader says so."""
        if diff.verdict != "different":
            return diff
        if is_pointer(left) or is_pointer(right):
            return self._of_listed_pointers(diff, left, right)
        found = self._explanation(diff.path, left, right)
        if found is None:
            return self.assessed(_too_large(diff, left, right), left, right)
        told = msgspec.structs.replace(
            diff,
            changes=found.changes,
            more_changes=found.more,
            tensors=found.tensors,
            summary=found.summary,
        )
        if found.equivalent:
            return self._equivalent(told, left, right, places)
        if found.tensors is not None and found.tensors.unknown:
            told = self._unread(told, left, right, places)
        told = self._of_pointers(self.assessed(told, left, right), left, right)
        # Damaged ranges come after what they mean, and have no impact of their own.
        changes = [*told.changes, *diff.changes]
        more = told.more_changes + diff.more_changes + max(0, len(changes) - MAX_CHANGES)
        return msgspec.structs.replace(told, changes=changes[:MAX_CHANGES], more_changes=more)

    def assessed(self, diff: FileDiff, left: File | None, right: File | None) -> FileDiff:
        """Give a file and its single changes their impact by the rules table."""
        known = findings_of(diff.path, self._store.facts(left)) if left is not None else []
        warned = findings_of(diff.path, self._store.facts(right)) if right is not None else []
        new = [finding for finding in warned if finding not in known]
        self.findings += [{**finding, "side": "right"} for finding in new]
        found = assess(
            diff.path,
            diff.role,
            diff.verdict,
            changes=diff.changes,
            tensors=diff.tensors,
            findings=new,
        )
        alone = diff.verdict in {"leftOnly", "rightOnly"}
        return msgspec.structs.replace(
            diff,
            impact=found.impact,
            changes=found.changes,
            summary=found.reason if alone else diff.summary,
        )

    def _equivalent(
        self, diff: FileDiff, left: File, right: File, places: tuple[str, str]
    ) -> FileDiff:
        """Equal in meaning, if both sides' bytes are known as well as was asked for."""
        minimum = self._min_evidence
        if at_least(left.grade(), minimum) and at_least(right.grade(), minimum):
            reason = "other bytes, equal for every known reader"
            return msgspec.structs.replace(
                diff, verdict="equivalent", impact="cosmetic", reason=reason
            )
        return msgspec.structs.replace(
            diff,
            verdict="unverifiable",
            reason="the contents mean the same, but are only "
            f"{left.grade()} on the left and {right.grade()} on the right",
            hint=closing(left, right, places, minimum),
        )

    def _unread(self, diff: FileDiff, left: File, right: File, places: tuple[str, str]) -> FileDiff:
        """Tensors whose values were not compared: what is known all the same, and what to run."""
        facts = self._store.facts(left) or {}, self._store.facts(right) or {}
        hint = naming(["digestAlgorithm" in one for one in facts], places)
        diff = msgspec.structs.replace(diff, hint=hint)
        header = facts[0].get("header")
        if diff.tensors is None or header is None or header != facts[1].get("header"):
            return diff
        count = diff.tensors.unknown
        which = f"at least one of {count} tensors" if count > 1 else "its tensor"
        summary = f"the same header; the values of {which} changed, the digests would say which"
        return msgspec.structs.replace(diff, summary=summary)

    def _of_pointers(self, diff: FileDiff, left: File, right: File) -> FileDiff:
        """Say what pointers stand for that were read as files: objects of a bucket, say."""
        told = {"left": self._pointer_told(left), "right": self._pointer_told(right)}
        sides = [side for side, text in told.items() if text is not None]
        if not sides:
            return diff
        hint = "git lfs pull where it was copied from, then copy it again"
        meant = told["left"] or _as_named(left), told["right"] or _as_named(right)
        if pointers.TOLD in meant or None in meant:
            return msgspec.structs.replace(diff, hint=hint)
        words = in_words(sides, same=meant[0] == meant[1])
        return msgspec.structs.replace(diff, hint=hint, summary=f"{words}; {diff.summary}")

    def _pointer_told(self, file: File) -> str | None:
        """What the reader of a pointer said of it; None: it is none."""
        refused = (self._store.facts(file) or {}).get("refused")
        pointer = isinstance(refused, str) and refused.startswith(pointers.TOLD)
        return refused if pointer else None

    def _of_listed_pointers(self, diff: FileDiff, left: File, right: File) -> FileDiff:
        """Where one side's listing says that it is a pointer: all that is known is what is meant."""
        told = [
            _as_named(file) if is_pointer(file) else self._pointer_told(file)
            for file in (left, right)
        ]
        if told[0] is not None and told[0] == told[1]:
            words = in_words(["left", "right"], same=True)
            return msgspec.structs.replace(
                diff, verdict="unverifiable", basis=None, reason=words, hint="git lfs pull"
            )
        return self.assessed(diff, left, right)

    def _explanation(self, path: str, left: File, right: File) -> Explanation | None:
        reader = reader_for(path, max(left.size, right.size))
        if reader is None:
            return None
        facts = self._store.facts(left), self._store.facts(right)
        bodies = (
            (self._store.body(left), self._store.body(right)) if reader.needs_body else (None, None)
        )
        try:
            found = reader.explain(path, *facts, *bodies)
        except MalformedError:
            # Facts were written by whoever took the snapshot; odd ones explain nothing.
            return None
        if found is not None and found.equivalent and _versions_differ(*facts):
            found = msgspec.structs.replace(found, equivalent=False)
        return None if found is None else self._without_secrets(found, left, right)

    def _without_secrets(self, found: Explanation, left: File, right: File) -> Explanation:
        """What readers show of values goes to terminals, reports and messages."""
        values: dict[str, str] = {}
        if found.changes or found.summary:
            for body in (self._store.body(left), self._store.body(right)):
                values |= secret_values(body) if body is not None else {}
        return msgspec.structs.replace(
            found,
            changes=[_hidden_change(change, values) for change in found.changes],
            summary=None if found.summary is None else hide(found.summary, values),
        )


def _as_named(file: File) -> str | None:
    """What a pointer to a file's content says; None where its sha256 or size is unknown."""
    hints = file.seen.hints
    sha256, size = (
        (hints.get("lfsSha256"), hints.get("lfsSize"))
        if is_pointer(file)
        else (file.sha256, file.size)
    )
    if not isinstance(sha256, str) or not isinstance(size, int):
        return None
    return pointers.naming(Pointer(sha256=sha256, size=size))


def _too_large(diff: FileDiff, left: File, right: File) -> FileDiff:
    """Say why a text is compared by its bytes alone, where its size is the reason."""
    size, limit = max(left.size, right.size), body_limit(diff.path)
    reader = reader_for(diff.path, size)
    if reader is None or not reader.needs_body or size <= limit:
        return diff
    what = f"too large to explain: bodies are kept up to {limit >> 20} MiB"
    reason = f"{diff.reason}; {what}" if diff.reason else what
    # Reports show damaged ranges instead of reasons, and summaries beside them.
    return msgspec.structs.replace(diff, reason=reason, summary=what if diff.changes else None)


def _hidden_change(change: Change, values: Mapping[str, str]) -> Change:
    return msgspec.structs.replace(
        change,
        at=hide(change.at, values),
        left=_hidden(change.left, values, change.at),
        right=_hidden(change.right, values, change.at),
        what=_hidden(change.what, values),
    )


def _hidden(value: Any, values: Mapping[str, str], name: str = "") -> Any:
    """A bounded value of a change without its secrets; whatever is no text stays."""
    if isinstance(value, str):
        return hide(value, values, name)
    if isinstance(value, list):
        return [_hidden(item, values, name) for item in value]
    if isinstance(value, dict):
        return {hide(key, values): _hidden(item, values, key) for key, item in value.items()}
    return value


def _versions_differ(left: Facts | None, right: Facts | None) -> bool:
    """Facts of two reader versions never make files equivalent, whatever the reader says."""
    return left is not None and right is not None and left.get("format") != right.get("format")
