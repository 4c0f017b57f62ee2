"""Putting a snapshot together: each file's listing, measurement and history become one observation."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from manifestd.model.digest import Digest
from manifestd.model.entry import Entry, File, Observation, Problem
from manifestd.model.evidence import Grade
from manifestd.model.manifest import ManifestHasher
from manifestd.model.role import role_of
from manifestd.model.snapshot import EvidenceCounts, ReadMode, Selection, Snapshot
from manifestd.sources.base import Resolved
from manifestd.store import Store
from manifestd.workflows.keeping import Journaled
from manifestd.workflows.plan import Decision, SnapshotRequest

MAX_PROBLEMS: Final = 1000
_UNKNOWN: Final = "no-sha256"
_HELD_BACK: Final = 4096
"""Files that are no different from before, and are not put into lists until one is."""


class Assembly:
    """Collects files in path order into the two trees and the manifest digest.

    Args:
        store: Where the trees go.
        before: The snapshot that measurements are reused from, with its record.
        read: What was to be read; with ``all`` a file that could not be is an error even
            where its digest is declared.
    """

    def __init__(
        self, store: Store, before: tuple[Digest, Snapshot] | None, read: ReadMode
    ) -> None:
        self._read = read
        self._lists = _Lists(store, before and before[1])
        self._manifest: ManifestHasher | None = ManifestHasher()
        self._before = before and before[0]
        self._store = store
        self._grades: Counter[str] = Counter()
        self._problems = _Problems()
        self._files = 0
        self._bytes = 0
        self.bytes_reused = 0

    def add(
        self, entry: Entry, decision: Decision, known: File | None, measured: Journaled | None
    ) -> None:
        """Add one file; paths come in ascending UTF-8 order."""
        sha256, seen = self._observe(entry, decision, known, measured)
        self._lists.add(entry.path, entry.size, sha256, seen, known)
        if sha256 is None:
            self._manifest = None
        elif self._manifest is not None:
            self._manifest.add(entry.path, entry.size, sha256)
        self._grades[seen.evidence.get("sha256", "none") if sha256 else "none"] += 1
        self._files += 1
        self._bytes += entry.size
        self.bytes_reused += entry.size if decision.action == "reuse" else 0

    @property
    def waiting(self) -> int:
        """Bytes of the file lists that are not in the store yet."""
        return self._lists.waiting

    def _observe(
        self, entry: Entry, decision: Decision, known: File | None, measured: Journaled | None
    ) -> tuple[str | None, Observation]:
        if entry.problem is not None:
            self._problems.add(entry.problem)
        if decision.action == "reuse" and known is not None:
            return self._reused(entry, known)
        if decision.action == "carry" and known is not None:
            seen = known.seen
            return known.sha256, _observation(
                entry, dict(entry.digests), dict(entry.evidence),
                body=seen.body, facts=seen.facts, chunks=seen.chunks,
            )  # fmt: skip
        if measured is None or measured.problem is not None:
            return self._unread(entry, decision, measured)
        return self._measured(entry, decision, known, measured)

    def _reused(self, entry: Entry, known: File) -> tuple[str | None, Observation]:
        digests, evidence = dict(entry.digests), dict(entry.evidence)
        for algorithm, value in known.digests().items():
            if known.seen.evidence.get(algorithm) in {"measured", "reused"}:
                self._check(entry, algorithm, value)
                digests[algorithm] = value
                evidence[algorithm] = "reused"
        return known.sha256, _observation(
            entry, digests, evidence,
            body=known.seen.body, facts=known.seen.facts, chunks=known.seen.chunks,
            declared=known.seen.declared, reused_from=known.seen.reused_from or self._before,
        )  # fmt: skip

    def _unread(
        self, entry: Entry, decision: Decision, measured: Journaled | None
    ) -> tuple[str | None, Observation]:
        sha256 = entry.digests.get("sha256") if entry.problem is None else None
        if measured is not None and measured.problem is not None:
            problem = measured.problem
            if sha256 is not None and problem.severity == "error" and self._read != "all":
                # The digest is known without the bytes; only explanations are poorer.
                problem = msgspec.structs.replace(problem, severity="note")
            self._problems.add(problem)
        elif sha256 is None and entry.problem is None:
            weak = ", ".join(sorted(entry.digests)) or "only its size"
            self._problems.add(
                Problem(
                    path=entry.path,
                    code=_UNKNOWN,
                    what=f"no sha256 is known without reading it (known: {weak})",
                    hint="take the snapshot with --read missing" if self._read == "none" else None,
                )
            )
        return sha256, _observation(entry, dict(entry.digests), dict(entry.evidence))

    def _measured(
        self, entry: Entry, decision: Decision, known: File | None, measured: Journaled
    ) -> tuple[str | None, Observation]:
        digests = {**entry.digests, **measured.digests}
        evidence: dict[str, Grade] = {
            **entry.evidence, **dict.fromkeys(measured.digests, "measured")
        }  # fmt: skip
        declared: dict[str, str] = {}
        if entry.digests:
            for algorithm, value in measured.digests.items():
                if not self._check(entry, algorithm, value):
                    declared[algorithm] = entry.digests[algorithm]
        if decision.rechecks and known is not None:
            self._recheck(entry, known, digests.get("sha256"))
        return digests.get("sha256"), _observation(
            entry, digests, evidence, body=measured.body, facts=measured.facts,
            chunks=measured.chunks, declared=declared,
        )  # fmt: skip

    def _check(self, entry: Entry, algorithm: str, value: str) -> bool:
        stated = entry.digests.get(algorithm)
        if stated is None or stated == value:
            return True
        grade = entry.evidence.get(algorithm, "declared")
        self._problems.add(
            Problem(
                path=entry.path,
                code="digest-mismatch",
                what=f"its bytes have {algorithm} {value}, the source's {grade} value is {stated}",
                hint="do not use it: compare it with another copy, and ask who changed it",
                severity="mismatch",
            )
        )
        return False

    def _recheck(self, entry: Entry, known: File, found: str | None) -> None:
        """A digest that was relied on turned out wrong: say where it was relied on."""
        if known.sha256 is None or found == known.sha256:
            return
        origin = known.seen.reused_from or self._before
        relied = sorted({place.snapshot for place in self._store.where(f"sha256:{known.sha256}")})
        named = ", ".join(relied[:20]) + (f" and {len(relied) - 20} more" if relied[20:] else "")
        self._problems.add(
            Problem(
                path=entry.path,
                code="reuse-wrong",
                what=f"read again: sha256 is {found}, not {known.sha256} as measured in {origin}, "
                f"though the source says it is unchanged; snapshots that rely on it: {named}",
                hint="take those snapshots again with --fresh",
                severity="mismatch",
            )
        )

    def record(
        self,
        request: SnapshotRequest,
        resolved: Resolved,
        *,
        captured_at: str,
        tool: str,
        problems: list[Problem],
    ) -> Snapshot:
        """Finish both trees and make the record."""
        content, observation = self._lists.finish()
        for problem in problems:
            self._problems.add(problem)
        known = self._manifest is not None
        return Snapshot(
            name=request.name or resolved.name,
            source=resolved.place,
            requested=resolved.requested,
            revision=resolved.revision,
            captured_at=captured_at,
            tool=tool,
            selection=Selection(ignore=sorted(request.ignore), read=request.read),
            manifest=self._manifest.digest() if self._manifest is not None else None,
            complete=known and not self._problems.broken,
            files=self._files,
            bytes=self._bytes,
            evidence=EvidenceCounts(**self._grades),
            content=content,
            observation=observation,
            problems=self._problems.listed(),
            facts=resolved.facts,
        )


def _observation(
    entry: Entry, digests: dict[str, str], evidence: dict[str, Grade], **more: Any
) -> Observation:
    digests.pop("sha256", None)
    return Observation(
        role=role_of(entry.path),
        digests=digests,
        evidence=evidence,
        identity=entry.identity,
        hints=entry.hints,
        **more,
    )


class _Lists:
    """The two file lists; those of the snapshot before where they say the same of every file.

    What is the same so far is held back, up to a number of files: it may never need writing.
    """

    def __init__(self, store: Store, before: Snapshot | None) -> None:
        self._before = before
        self._same: list[File] | None = None if before is None else []
        self._content = store.trees.content_writer()
        self._observation = store.trees.observation_writer()

    @property
    def waiting(self) -> int:
        return self._content.waiting + self._observation.waiting

    def add(
        self, path: str, size: int, sha256: str | None, seen: Observation, known: File | None
    ) -> None:
        """Add the next file; ``known`` is what the snapshot before says of its path."""
        same = self._same
        if same is not None:
            if (
                known is not None
                and (size, sha256, seen) == (known.size, known.sha256, known.seen)
                and len(same) < _HELD_BACK
            ):
                same.append(known)
                return
            self._write_held_back(same)
        self._content.add(path, size, sha256)
        self._observation.add(path, seen)

    def finish(self) -> tuple[Digest, Digest]:
        """The roots of both. Call it in the transaction that stores what names them.

        The snapshot before is there: who removes one, removes its pieces with it.
        """
        if self._same is not None:
            assert self._before is not None
            record = self._before
            if len(self._same) == record.files:
                return Digest(record.content), Digest(record.observation)
            self._write_held_back(self._same)
        return self._content.finish(), self._observation.finish()

    def _write_held_back(self, files: list[File]) -> None:
        self._same = None
        for file in files:
            self._content.add(file.path, file.size, file.sha256)
            self._observation.add(file.path, file.seen)


class _Problems:
    """Problems by severity, of each no more than a record lists; a million cost no memory."""

    def __init__(self) -> None:
        # In the order in which they are given up last to first.
        self._kept: dict[str, list[Problem]] = {
            "mismatch": [], "error": [], _UNKNOWN: [], "note": [],
        }  # fmt: skip
        self._counts = Counter[str]()

    def add(self, problem: Problem) -> None:
        kind = _UNKNOWN if problem.code == _UNKNOWN else problem.severity
        self._counts[kind] += 1
        kept = self._kept[kind]
        if len(kept) < MAX_PROBLEMS:
            kept.append(problem)

    @property
    def broken(self) -> bool:
        """Whether one of them makes the snapshot incomplete."""
        return bool(self._kept["error"] or self._kept[_UNKNOWN])

    def listed(self) -> list[Problem]:
        """In path order; mismatches and errors before notes when some must go."""
        found = [problem for kept in self._kept.values() for problem in kept][:MAX_PROBLEMS]
        found.sort(key=lambda item: (item.path or "").encode())
        more = self._counts.total() - len(found)
        if more and self._counts["mismatch"] + self._counts["error"] <= MAX_PROBLEMS:
            # Whoever compares must know that no file is missing from the list, only digests.
            what = f"{more} further files without a known sha256, and notes, are not listed"
            found.append(Problem(code="more-unknown", what=what, severity="note"))
        elif more:
            what = f"{more} further problems are not listed"
            found.append(Problem(code="more-problems", what=what, severity="note"))
        return found
