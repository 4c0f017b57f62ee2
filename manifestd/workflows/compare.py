"""Comparing two stored snapshots: offline, from the records, descending only where they differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from manifestd.model.change import Diff, FileDiff, Side, SignatureState
from manifestd.model.digest import Digest
from manifestd.model.entry import File
from manifestd.model.evidence import GRADES, Grade, at_least
from manifestd.model.snapshot import Snapshot, moment_of
from manifestd.rules.compare import judge, side_of
from manifestd.rules.mapping import PathMap
from manifestd.rules.moves import find_moves
from manifestd.rules.verdicts import Demands, conclude, count, model_verdict
from manifestd.store import Store
from manifestd.workflows.doubts import doubts_of, notes_of
from manifestd.workflows.explain import Explainer
from manifestd.workflows.listing import Listing, MappedListing, check_used
from manifestd.workflows.pairs import differing, joined
from manifestd.workflows.templates import with_moved_templates
from manifestd.workflows.weights import weigh

if TYPE_CHECKING:
    from manifestd.signing.trust import Trust

PASSING: Final = Demands()
"""The contract's defaults: identical and equivalent pass, any evidence counts."""


def compare(
    store: Store,
    left: str,
    right: str,
    demands: Demands = PASSING,
    trust: Callable[[], Trust] | None = None,
    *,
    list_identical: bool = False,
) -> Diff:
    """Compare two snapshots of the store. Opens no socket and writes nothing.

    Args:
        store: Where both are.
        left: Reference of the left side (contract, section 2).
        right: Reference of the right side.
        demands: What it takes to pass.
        trust: The keys that count; called only when there is a signature to check.
        list_identical: Name identical files too, which reads both lists whole. Otherwise
            equal manifests are answered from the two records alone.

    Raises:
        NotStoredError, AmbiguousError: A reference names no snapshot, or several.
        TamperedError: The store does not hold what its records say.
    """
    digests = store.snapshots.resolve(left), store.snapshots.resolve(right)
    return compare_stored(store, digests, demands, trust, list_identical=list_identical)


def compare_stored(
    store: Store,
    digests: tuple[Digest, Digest],
    demands: Demands = PASSING,
    trust: Callable[[], Trust] | None = None,
    *,
    list_identical: bool = False,
    paths: PathMap | None = None,
) -> Diff:
    """As :func:`compare`, for two snapshots named by their digests.

    Args:
        store: Where both are.
        digests: The left one, which is the reference, and the right one.
        demands: What it takes to pass.
        trust: The keys that count; called only when there is a signature to check.
        list_identical: Name identical files too.
        paths: What the reference side calls files of the right side. The diff speaks of
            its names; ``rightPath`` of a file has the other.

    Raises:
        ConfigError: A path rule matches nothing, or two files get one name.
        NotStoredError, TamperedError: As :func:`compare`.
    """
    records = store.snapshots.load(digests[0]), store.snapshots.load(digests[1])
    comparison = _Comparison(store, records, demands, paths)
    return comparison.run(digests, trust, list_identical=list_identical)


class _Comparison:
    """One comparison; its methods are its steps."""

    def __init__(
        self,
        store: Store,
        records: tuple[Snapshot, Snapshot],
        demands: Demands,
        paths: PathMap | None = None,
    ) -> None:
        self.store = store
        self.left, self.right = records
        self.demands = demands
        self.listings = (
            Listing(store, self.left),
            MappedListing(store, self.right, paths) if paths else Listing(store, self.right),
        )
        self.mapping = check_used(paths, *self.listings) if paths else None
        self.doubts = (
            doubts_of(self.left, "left", _reference(self.left)),
            doubts_of(self.right, "right", _reference(self.right), self.listings[1].shown),
        )
        self.explainer = Explainer(store, demands.min_evidence)

    def run(
        self,
        digests: tuple[Digest, Digest],
        trust: Callable[[], Trust] | None,
        *,
        list_identical: bool,
    ) -> Diff:
        """Judge, pair moves, explain, conclude."""
        files, identical = self._files(list_identical=list_identical)
        sides = (
            self._side(digests[0], self.left, trust),
            self._side(digests[1], self.right, trust),
        )
        known = [finding for side in self.doubts if (finding := side.finding()) is not None]
        counts = count(files, identical=identical)
        weighed = weigh(self.listings, files, self.store.facts, listed=list_identical)
        files = weighed.files
        result, findings = conclude(files, sides, self.demands, known)
        notes = [*notes_of(self.left, self.right), *(self.mapping or ())]
        files, moved = with_moved_templates(self.listings, files, self.store.body)
        notes += moved
        if digests[0] == digests[1]:
            notes.insert(0, "both references name the same snapshot")
        return Diff(
            left=sides[0],
            right=sides[1],
            verdict=model_verdict(counts, incomplete=bool(known)),
            result=result,
            counts=counts,
            files=files,
            weights=weighed.weights,
            notes=notes,
            findings=[*findings, *self.explainer.findings, *weighed.findings],
        )

    def _files(self, *, list_identical: bool) -> tuple[list[FileDiff], int]:
        """Every file that must be listed, in path order, and how many identical ones are not."""
        whole = list_identical or self.mapping is not None or not self._decided_by_content()
        pairs = joined(*self.listings) if whole else differing(self.store, self.left, self.right)
        files: list[FileDiff] = []
        left_only: list[File] = []
        right_only: list[File] = []
        identical = 0 if whole else self.left.files
        for pair in pairs:
            if pair.left is not None and pair.right is not None:
                if not whole:
                    identical -= 1
                elif not list_identical and self._plainly_same(pair.left, pair.right):
                    identical += 1
                    continue
                files.append(self._both(pair.path, pair.left, pair.right))
            elif pair.left is not None:
                identical -= not whole
                left_only.append(pair.left)
            elif pair.right is not None:
                right_only.append(pair.right)
        files += self._one_sided(left_only, right_only)
        files += self._unseen()
        files = [self._named(file) for file in files]
        return sorted(files, key=lambda file: file.path.encode()), identical

    def _named(self, file: FileDiff) -> FileDiff:
        """With the right side's own name, where a path rule gave it another."""
        own = None if file.right is None else self.listings[1].own(file.path)
        return file if own is None else msgspec.structs.replace(file, right_path=own)

    def _decided_by_content(self) -> bool:
        """Whether equal content tree entries are identical files by themselves."""
        return all(
            record.manifest is not None and self._all_reach(record)
            for record in (self.left, self.right)
        )

    def _all_reach(self, record: Snapshot) -> bool:
        minimum = self.demands.min_evidence
        weak = (grade for grade in GRADES if not at_least(grade, minimum))
        return not any(getattr(record.evidence, grade) for grade in weak)

    def _plainly_same(self, left: File, right: File) -> bool:
        return (
            left.sha256 is not None
            and left.sha256 == right.sha256
            and left.size == right.size
            and self._good_enough(left.grade())
            and self._good_enough(right.grade())
        )

    def _good_enough(self, grade: Grade) -> bool:
        return grade != "none" and at_least(grade, self.demands.min_evidence)

    def _both(self, path: str, left: File, right: File) -> FileDiff:
        """Judge a pair; chunk digests are fetched only where they can add something."""
        minimum = self.demands.min_evidence
        if self._plainly_same(left, right):
            return judge(path, left, right, min_evidence=minimum)
        mine, theirs = (
            self.explainer.about(file, side.paths.get(path), side.place)
            for file, side in zip((left, right), self.doubts, strict=True)
        )
        found = judge(path, left, right, about_left=mine, about_right=theirs, min_evidence=minimum)
        places = self.doubts[0].place, self.doubts[1].place
        return self.explainer.explained(found, left, right, places)

    def _one_sided(self, left_only: list[File], right_only: list[File]) -> list[FileDiff]:
        """Moves first; then what one side lacks, or may lack."""
        left_doubts, right_doubts = self.doubts
        doubted = [(file, right_doubts.missing(file)) for file in left_only]
        doubted += [(file, left_doubts.missing(file)) for file in right_only]
        files = [found for _, found in doubted if found is not None]
        unclear = {id(file) for file, found in doubted if found is not None}
        pairs, lefts, rights = find_moves(
            [file for file in left_only if id(file) not in unclear],
            [file for file in right_only if id(file) not in unclear],
        )
        minimum = self.demands.min_evidence
        for left, right in pairs:
            found = judge(right.path, left, right, min_evidence=minimum)
            moved = msgspec.structs.replace(found, verdict="moved", moved_from=left.path)
            files.append(self.explainer.assessed(moved, left, right))
        files += [self._alone(file, left=True) for file in lefts]
        return files + [self._alone(file, left=False) for file in rights]

    def _alone(self, file: File, *, left: bool) -> FileDiff:
        shown = side_of(file)
        found = FileDiff(
            path=file.path,
            verdict="leftOnly" if left else "rightOnly",
            role=file.seen.role,
            left=shown if left else None,
            right=None if left else shown,
            reason="missing on the right" if left else "missing on the left",
        )
        return self.explainer.assessed(found, file if left else None, None if left else file)

    def _unseen(self) -> list[FileDiff]:
        """Paths that a side could not look at and that stand in neither file list."""
        left, right = self.doubts
        paths = left.paths.keys() | right.paths.keys()
        if not paths:
            return []
        listed = {path for listing in self.listings for path in listing.some(paths)}
        found = {file.path: file for file in (*right.unseen(listed), *left.unseen(listed))}
        return list(found.values())

    def _side(self, digest: Digest, record: Snapshot, trust: Callable[[], Trust] | None) -> Side:
        state, names = self._signature(digest, record, trust)
        return Side(
            snapshot=digest,
            manifest=record.manifest,
            source=record.source,
            revision=record.revision,
            captured_at=record.captured_at,
            signature=state,
            name=record.name,
            signed_by=names,
            complete=record.complete,
        )

    def _signature(
        self, digest: Digest, record: Snapshot, trust: Callable[[], Trust] | None
    ) -> tuple[SignatureState, list[str]]:
        bundles = self.store.snapshots.bundles(digest)
        if not bundles:
            return "unsigned", []
        if trust is None:
            return "untrusted", []
        # cryptography is imported only where there is a signature to check.
        from manifestd.workflows.sign import signature_state

        at = moment_of(record.captured_at)
        return signature_state(bundles, digest, record.manifest, trust(), at)


def _reference(record: Snapshot) -> str:
    """What to type to read this side again: its place at its revision."""
    return f"{record.source}@{record.revision}" if record.revision else record.source
