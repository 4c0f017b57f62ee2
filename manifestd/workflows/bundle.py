"""Bundles read: checked to the last byte, and brought into a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from manifestd.config.shape import TagRule
from manifestd.errors import (
    MalformedError,
    NotCanonicalError,
    NotStoredError,
    SignatureError,
    TamperedError,
)
from manifestd.model.bundlefile import (
    LONGEST_LINE,
    BundleBlob,
    BundleIndex,
    BundleSnapshot,
    SuggestedKey,
    parse_index,
    parse_line,
)
from manifestd.model.digest import Digest, of_bytes
from manifestd.model.importing import Brought
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.workflows.bundle_write import needed_kinds

_KEPT: Final = frozenset({"record", "bundle", "statement"})


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came in.

    Attributes:
        snapshots: Digests, in the bundle's order.
        new: How many of them were not there before.
        statements: Signed statements that came along, and what became of each.
        keys: Keys the maker suggests; none of them is trusted by this.
        proofs: Snapshot -> proof that its maker's log holds it; not checked here.
    """

    snapshots: list[Digest]
    new: int
    statements: list[Brought]
    keys: list[SuggestedKey]
    proofs: dict[str, str]


def read_index(file: BinaryIO) -> BundleIndex:
    """The index of an open bundle; the file then stands before the first blob.

    Raises:
        MalformedError, TamperedError, NotCanonicalError: Not an undamaged bundle.
    """
    length, sha256 = parse_line(file.readline(LONGEST_LINE))
    return parse_index(file.read(length), sha256)


def read_blobs(file: BinaryIO, index: BundleIndex) -> Iterator[tuple[BundleBlob, bytes]]:
    """Every blob, checked against its digest, to the end of the file.

    Raises:
        TamperedError: A blob has another digest, or the file another length.
    """
    for blob in index.blobs:
        data = file.read(blob.size)
        if of_bytes(data) != blob.digest:
            raise TamperedError(
                f"the bundle's bytes for {blob.digest} do not have that digest",
                hint="copy the bundle again from where it was made",
            )
        yield blob, data
    if file.read(1):
        raise TamperedError("the bundle goes on after its last blob")


@contextmanager
def naming_bundle(path: Path) -> Iterator[None]:
    """Put a bundle's path before what is wrong with it, for people who named it."""
    try:
        yield
    except (MalformedError, NotCanonicalError, SignatureError, TamperedError) as error:
        error.what = f"{path}: {error.what}"
        error.hint = error.hint or "copy the bundle again from where it was made"
        raise


def import_bundle(
    store: Store,
    path: Path,
    *,
    trust: Trust | None = None,
    rules: Sequence[TagRule] = (),
    now: datetime | None = None,
    adopt: bool = False,
    inspect: bool = False,
) -> Imported:
    """Bring a bundle into a store, whole or not at all. Importing twice changes nothing.

    Args:
        store: Opened for writing.
        path: Of the bundle.
        trust: By which its approvals, revocations and tag moves are judged; None: they are
            left out.
        rules: The ``[[tags]]`` rules that hold here.
        now: As of when; None: now.
        adopt: See ``Tags.move``; for stores that are thrown away.
        inspect: Also check what `verify` checks: that records say what their file lists say,
            and that no signature is wrong.

    Raises:
        MalformedError, TamperedError, NotCanonicalError: Not an undamaged bundle.
        SignatureError: With ``inspect``, a signature of a trusted key is wrong.
    """
    from manifestd.workflows.bundle_statements import Terms, bring_statements

    moment = now or datetime.now(UTC)
    with path.open("rb") as file, store.transaction():
        index = read_index(file)
        kept: dict[str, bytes] = {}
        for blob, data in read_blobs(file, index):
            if blob.kind in _KEPT:
                kept[blob.digest] = data
            else:
                store.blobs.put(data, blob.kind)
        digests, new = [], 0
        for item in index.snapshots:
            new += not _is_stored(store, item.digest)
            digests.append(_snapshot(store, item, kept, moment))
        _check_complete(store, index, digests)
        if inspect:
            for digest in digests:
                _inspect(store, digest, trust or Trust())
        brought: list[Brought] = []
        if trust is not None:
            terms = Terms(trust=trust, rules=rules, now=moment, adopt=adopt)
            brought = bring_statements(store, terms, [kept[text] for text in index.statements])
    return Imported(
        snapshots=digests,
        new=new,
        statements=brought,
        keys=index.keys,
        proofs={item.digest: item.proof for item in index.snapshots if item.proof is not None},
    )


def _snapshot(
    store: Store, item: BundleSnapshot, kept: Mapping[str, bytes], at: datetime
) -> Digest:
    digest = store.snapshots.add(kept[item.digest], at=at)
    if store.snapshots.load(digest).name != item.name:
        raise MalformedError(f"the bundle gives the snapshot {digest} another name than it has")
    for signature in item.signatures:
        store.snapshots.attach(digest, kept[signature], at=at)
    return digest


def _check_complete(store: Store, index: BundleIndex, digests: Sequence[str]) -> None:
    """What the records need came along, as what it is; and nothing else did."""
    try:
        needed = needed_kinds(store, digests)
    except TamperedError as error:
        raise MalformedError("the bundle is not whole", why=error.what) from error
    carried = {
        bytes.fromhex(blob.digest[7:]): blob.kind
        for blob in index.blobs
        if blob.kind not in {"bundle", "statement"}
    }
    # The bytes of a signature may be those of a file of the model, too.
    signed = {bytes.fromhex(blob.digest[7:]) for blob in index.blobs} - carried.keys()
    needed = {raw: kind for raw, kind in needed.items() if raw not in signed}
    if carried != needed:
        odd = min(raw for raw in carried.keys() | needed if carried.get(raw) != needed.get(raw))
        raise MalformedError(
            "the bundle is not what its snapshots need",
            why=f"sha256:{odd.hex()} is listed as {carried.get(odd, 'nothing')}, and is needed"
            f" as {needed.get(odd, 'nothing')}",
        )


def _inspect(store: Store, digest: Digest, trust: Trust) -> None:
    from manifestd.workflows.verify import verify_references

    [result] = verify_references(store, [digest], trust)
    if result.flaws:
        raise TamperedError(
            f"the snapshot {digest} in the bundle does not verify", why=result.flaws[0].what
        )
    wrong = next((check for check in result.signatures if check.state == "invalid"), None)
    if wrong is not None:
        raise SignatureError(f"a signature in the bundle is wrong: {wrong.why}")


def _is_stored(store: Store, digest: str) -> bool:
    try:
        store.snapshots.raw(digest)
    except NotStoredError:
        return False
    return True
