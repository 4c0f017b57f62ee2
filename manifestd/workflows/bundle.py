"""Bundles: written from a store, read into one, or used as a store of their own."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from manifestd._version import __version__
from manifestd.config import Config
from manifestd.errors import (
    AmbiguousError,
    MalformedError,
    NotStoredError,
    TamperedError,
    UsageError,
)
from manifestd.model.bundlefile import (
    LONGEST_LINE,
    MAGIC,
    BlobKind,
    BundleBlob,
    BundleIndex,
    BundleSnapshot,
    SuggestedKey,
    head_of,
    parse_index,
    parse_line,
)
from manifestd.model.digest import Digest
from manifestd.signing.base import Signer
from manifestd.signing.trust import Trust
from manifestd.store import Store, open_store
from manifestd.workflows.proofs import entry_for, prove

_KINDS: Final[dict[str, BlobKind]] = {
    "record": "record", "leaf": "leaf", "node": "node", "facts": "facts", "chunks": "chunks",
}  # fmt: skip


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came in.

    Attributes:
        snapshots: Digests, in the bundle's order.
        new: How many of them were not there before.
        statements: Signed statements (approvals, revocations) that came along.
        keys: Keys the maker suggests; none of them is trusted by this.
    """

    snapshots: list[Digest]
    new: int
    statements: list[bytes]
    keys: list[SuggestedKey]


def is_bundle(text: str) -> Path | None:
    """The path, if ``text`` (without ``#…``) names a file that begins as a bundle does."""
    path = Path(text.partition("#")[0])
    try:
        with path.open("rb") as file:
            return path if file.read(len(MAGIC)) == MAGIC else None
    except (OSError, ValueError):
        return None


def write_bundle(
    store: Store,
    snapshots: Sequence[str],
    file: BinaryIO,
    *,
    proofs: dict[str, str] | None = None,
    statements: Sequence[bytes] = (),
    keys: Sequence[SuggestedKey] = (),
    now: datetime | None = None,
) -> BundleIndex:
    """Write snapshots and all they need.

    Args:
        store: Where they are.
        snapshots: Their digests.
        file: Where to write.
        proofs: Digest -> C2SP tlog-proof, for those that were proved.
        statements: Approvals and revocations to carry along.
        keys: Public keys to suggest.
        now: The time to write down.

    Raises:
        TamperedError: Something they need is damaged or not there.
    """
    digests = list(dict.fromkeys(snapshots))
    needs = store.needs(digests)
    kinds: dict[bytes, BlobKind] = dict.fromkeys(sorted(needs.bodies), "body")
    kinds |= {raw: _KINDS[kind] for raw, kind in needs.pieces.items()}
    extra: dict[bytes, bytes] = {}
    items = []
    for digest in digests:
        bundles = store.snapshots.bundles(digest)
        extra |= {hashlib.sha256(data).digest(): data for data in bundles}
        kinds |= dict.fromkeys((hashlib.sha256(data).digest() for data in bundles), "bundle")
        items.append(
            BundleSnapshot(
                digest=digest,
                name=store.snapshots.load(digest).name,
                signatures=[_named(data) for data in bundles],
                proof=(proofs or {}).get(digest),
            )
        )
    extra |= {hashlib.sha256(data).digest(): data for data in statements}
    kinds |= dict.fromkeys((hashlib.sha256(data).digest() for data in statements), "statement")
    order = sorted(kinds)
    sizes = {raw: len(extra[raw] if raw in extra else store.blobs.fetch(raw)) for raw in order}
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    index = BundleIndex(
        made_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool=f"manifestd/{__version__}",
        snapshots=items,
        statements=[_named(data) for data in statements],
        keys=list(keys),
        blobs=[
            BundleBlob(digest="sha256:" + raw.hex(), kind=kinds[raw], size=sizes[raw])
            for raw in order
        ],
    )
    file.write(head_of(index))
    file.writelines(extra[raw] if raw in extra else store.blobs.fetch(raw) for raw in order)
    return index


def export_bundle(
    store: Store,
    references: Sequence[str],
    target: Path,
    *,
    config: Config,
    signer: Signer | None,
    trust: Trust,
) -> BundleIndex:
    """Write snapshots to a bundle file that appears whole; with a key, with proofs of the log.

    Raises:
        UsageError: The file exists.
    """
    if target.exists():
        raise UsageError(f"{target} exists", hint="name a new file or remove the old one")
    digests = [store.snapshots.resolve(text) for text in references]
    proofs: dict[str, str] = {}
    if signer is not None:
        for digest in digests:
            index = entry_for(store, digest).index
            proofs[digest] = prove(store, config, signer, trust, index=index).decode()
    keys = [
        SuggestedKey(
            person=entry.person,
            groups=list(entry.groups),
            may=list(entry.may),
            pem=entry.key.pem.decode(),
        )
        for entry in trust.entries
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            made = write_bundle(store, digests, file, proofs=proofs, keys=keys)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return made


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
        if "sha256:" + hashlib.sha256(data).hexdigest() != blob.digest:
            raise TamperedError(
                f"the bundle's bytes for {blob.digest} do not have that digest",
                hint="copy the bundle again from where it was made",
            )
        yield blob, data
    if file.read(1):
        raise TamperedError("the bundle goes on after its last blob")


def import_bundle(store: Store, path: Path) -> Imported:
    """Bring a bundle into a store, whole or not at all. Importing twice changes nothing.

    Raises:
        MalformedError, TamperedError, NotCanonicalError: Not an undamaged bundle.
    """
    with path.open("rb") as file, store.transaction():
        index = read_index(file)
        kept: dict[str, bytes] = {}
        for blob, data in read_blobs(file, index):
            if blob.kind in {"record", "bundle", "statement"}:
                kept[blob.digest] = data
            else:
                store.blobs.put(data, blob.kind)
        digests, new = [], 0
        for item in index.snapshots:
            new += not _is_stored(store, item.digest)
            digest = store.snapshots.add(_of(kept, item.digest))
            for signature in item.signatures:
                store.snapshots.attach(digest, _of(kept, signature))
            digests.append(digest)
        # What a record names must have come along: a bundle that lacks it is no evidence.
        store.needs(digests)
    return Imported(
        snapshots=digests,
        new=new,
        statements=[_of(kept, digest) for digest in index.statements],
        keys=index.keys,
    )


def _is_stored(store: Store, digest: str) -> bool:
    try:
        store.snapshots.raw(digest)
    except NotStoredError:
        return False
    return True


@contextmanager
def gathered(store_path: Path, references: Sequence[str]) -> Iterator[tuple[Store, list[str]]]:
    """Open what references need: the store, or one made for the moment of bundles (and the store).

    Yields:
        A store opened for reading, and the references as that store knows them.
    """
    paths = [is_bundle(text) for text in references]
    with ExitStack() as stack:
        if not any(paths):
            yield stack.enter_context(open_store(store_path)), list(references)
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manifestd-")))
        made = stack.enter_context(open_store(folder / "bundle.db", write=True))
        found: list[str] = []
        for path, text in zip(paths, references, strict=True):
            if path is None:
                with open_store(store_path) as source:
                    found.append(_carried_over(source, text, made, folder))
            else:
                imported = import_bundle(made, path)
                found.append(_chosen(made, imported.snapshots, text))
        yield made, found


def _carried_over(source: Store, text: str, target: Store, folder: Path) -> str:
    digest = source.snapshots.resolve(text)
    path = folder / "carried"
    with path.open("wb") as file:
        write_bundle(source, [digest], file)
    import_bundle(target, path)
    return digest


def _chosen(store: Store, snapshots: list[Digest], text: str) -> str:
    """The snapshot of a bundle that ``FILE`` or ``FILE#NAME`` or ``FILE#sha256:…`` means."""
    path, _, wanted = text.partition("#")
    matching = [
        digest
        for digest in snapshots
        if not wanted
        or digest.startswith((wanted, f"sha256:{wanted}"))
        or store.snapshots.load(digest).name == wanted
    ]
    if len(matching) == 1:
        return matching[0]
    listed = [f"{path}#{digest}" for digest in (matching or snapshots)]
    if not matching:
        raise NotStoredError(f"{path} has no snapshot {wanted!r}", facts={"candidates": listed})
    raise AmbiguousError(
        f"{text} names {len(matching)} snapshots",
        hint="write one of " + ", ".join(listed[:5]),
        facts={"candidates": listed},
    )


def _of(kept: dict[str, bytes], digest: str) -> bytes:
    if digest not in kept:
        raise MalformedError(f"the bundle says that {digest} is something else")
    return kept[digest]


def _named(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
