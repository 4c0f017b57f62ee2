"""``verify``: everything that is stored about a snapshot, proved again from its bytes. Offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from manifestd import canonical
from manifestd.errors import (
    EmptySourceError,
    ManifestdError,
    NotVerifiedError,
    TamperedError,
    UndecidedError,
)
from manifestd.model.digest import of_bytes
from manifestd.model.entry import File
from manifestd.model.manifest import Item, manifest_digest
from manifestd.model.snapshot import Snapshot
from manifestd.model.verification import MAX_FLAWS, Checked, Flaw, VerifyReport, VerifyResult
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.workflows.sign import overall_state, signatures_of


def verify_references(store: Store, references: list[str], trust: Trust) -> list[VerifyResult]:
    """Verify each snapshot; what is wrong with one never hides another.

    Args:
        store: Opened for reading.
        references: Names of stored snapshots.
        trust: The keys that count.

    Raises:
        UsageError: A reference is ambiguous or malformed.
    """
    return [_verify(store, reference, trust) for reference in references]


def report_of(results: list[VerifyResult]) -> VerifyReport:
    """All results as one document."""
    return VerifyReport(verified=all(result.verified for result in results), snapshots=results)


def _verify(store: Store, reference: str, trust: Trust) -> VerifyResult:
    try:
        digest = store.snapshots.resolve(reference)
        raw = store.snapshots.raw(digest)
    except (UndecidedError, NotVerifiedError) as error:
        return _unreadable(reference, error)
    try:
        record = _record(raw, digest)
    except NotVerifiedError as error:
        return _unreadable(reference, error, digest)
    inspection = _Inspection(store, record)
    inspection.run()
    try:
        checks = signatures_of(store, digest, record, trust)
        signature, names = overall_state(checks)
    except NotVerifiedError as error:
        # A signature whose own bytes are damaged is not "unsigned".
        inspection.add(error)
        checks, signature, names = [], "invalid", []
    verified = not inspection.flaws and signature == "verified"
    return VerifyResult(
        reference=reference,
        verified=verified,
        content="tampered" if inspection.flaws else "verified",
        signature=signature,
        exit_code=0 if verified else 4,
        snapshot=digest,
        manifest=record.manifest,
        name=record.name,
        source=record.source,
        revision=record.revision,
        captured_at=record.captured_at,
        signed_by=names,
        signatures=checks,
        checked=inspection.checked(),
        flaws=inspection.flaws,
        more_flaws=inspection.more,
    )


def _record(raw: bytes, digest: str) -> Snapshot:
    if of_bytes(raw) != digest:
        raise TamperedError(f"the record's bytes do not have the digest {digest}")
    return canonical.decode(raw, Snapshot, name="snapshot record")


def _unreadable(reference: str, error: ManifestdError, digest: str | None = None) -> VerifyResult:
    damaged = isinstance(error, NotVerifiedError)
    return VerifyResult(
        reference=reference,
        verified=False,
        content="tampered" if damaged else "unknown",
        signature="unsigned",
        exit_code=error.exit_code,
        snapshot=digest,
        flaws=[_flaw(error)],
    )


def _flaw(error: ManifestdError, path: str | None = None) -> Flaw:
    return Flaw(code=error.code, what=error.told(), path=path, hint=error.hint)


class _Inspection:
    """One pass over a snapshot's files in path order, with constant memory."""

    def __init__(self, store: Store, record: Snapshot) -> None:
        self._store = store
        self._record = record
        self._files = 0
        self._bytes = 0
        self._bodies = 0
        self._facts = 0
        self._unsized = 0
        self._grades: Counter[str] = Counter()
        self.flaws: list[Flaw] = []
        self.more = 0

    def add(self, error: NotVerifiedError, path: str | None = None) -> None:
        """Note something that does not verify."""
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(_flaw(error, path))
        else:
            self.more += 1

    def checked(self) -> Checked:
        """How much was read and found right."""
        return Checked(files=self._files, bodies=self._bodies, facts=self._facts)

    def run(self) -> None:
        """Read both trees whole, every document they name, and compare with the record."""
        manifest: str | None
        try:
            manifest = manifest_digest(self._items())
        except EmptySourceError:
            manifest = None
        except NotVerifiedError as error:
            # The trees cannot be read to their end: counts and manifest would be wrong too.
            self.add(error)
            return
        if self._grades["none"] or self._unsized:
            manifest = None
        self._compare("manifest", self._record.manifest, manifest)
        self._compare("number of files", self._record.files, self._files)
        self._compare("number of bytes", self._record.bytes, self._bytes)
        stated = {grade: n for grade, n in msgspec.to_builtins(self._record.evidence).items() if n}
        self._compare("evidence", stated, dict(self._grades))
        broken = any(problem.severity == "error" for problem in self._record.problems)
        if self._record.complete and (manifest is None or broken):
            self.add(TamperedError("the record calls itself complete and is not"))

    def _items(self) -> Iterator[Item]:
        for file in self._store.trees.files(self._record):
            self._files += 1
            self._bytes += file.size
            self._grades[file.grade()] += 1
            self._unsized += not file.sized
            self._documents(file)
            if file.sha256 is not None:
                yield Item(file.path, file.size, file.sha256)

    def _documents(self, file: File) -> None:
        seen = file.seen
        if seen.body:
            self._body(file)
        for digest in (seen.facts, seen.chunks):
            if digest is not None and self._blob(digest, file.path) is not None:
                self._facts += 1

    def _body(self, file: File) -> None:
        if file.sha256 is None:
            self.add(TamperedError("a body is kept without its sha256"), file.path)
            return
        body = self._blob(f"sha256:{file.sha256}", file.path)
        if body is None:
            return
        if len(body) == file.size:
            self._bodies += 1
        else:
            self.add(
                TamperedError(f"its body has {len(body)} bytes, the record says {file.size}"),
                file.path,
            )

    def _blob(self, digest: str, path: str) -> bytes | None:
        try:
            return self._store.blobs.get(digest)
        except NotVerifiedError as error:
            self.add(error, path)
            return None

    def _compare(self, what: str, stated: object, found: object) -> None:
        if stated != found:
            self.add(
                TamperedError(
                    f"the record's {what} is not that of its files",
                    why=f"it says {stated}, the files give {found}",
                )
            )
