"""Writing bundles: snapshots, what they need, and the signed statements about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from manifestd._version import TOOL
from manifestd.config import Config
from manifestd.errors import UsageError
from manifestd.model.bundlefile import (
    BlobKind,
    BundleBlob,
    BundleIndex,
    BundleSnapshot,
    SuggestedKey,
    head_of,
)
from manifestd.model.digest import of_bytes
from manifestd.model.envelope import digests_of
from manifestd.signing.base import Signer
from manifestd.signing.public import read_public_key
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.workflows.proofs import entry_for, prove

_CHECKPOINT_KEYS: Final = {"p256", "ed25519"}
"""Kinds of keys that can sign a checkpoint (C2SP signed-note)."""


_PIECES: Final[dict[str, BlobKind]] = {
    "record": "record", "leaf": "leaf", "node": "node", "facts": "facts", "chunks": "chunks",
}  # fmt: skip


def needed_kinds(store: Store, snapshots: Iterable[str]) -> dict[bytes, BlobKind]:
    """Raw digest -> kind of every blob that snapshots need, their records included.

    A document that is also some file's body counts as the document.

    Raises:
        NotStoredError, TamperedError, MalformedError: One is not there, or something it
            needs is missing or damaged.
    """
    needs = store.needs(snapshots)
    kinds: dict[bytes, BlobKind] = dict.fromkeys(needs.bodies, "body")
    return kinds | {raw: _PIECES[kind] for raw, kind in needs.pieces.items()}


def write_bundle(
    store: Store,
    snapshots: Sequence[str],
    file: BinaryIO,
    *,
    proofs: Mapping[str, str] | None = None,
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
        statements: Approvals, revocations and tag moves to carry along.
        keys: Public keys to suggest.
        now: The time to write down.

    Raises:
        TamperedError: Something they need is damaged or not there.
    """
    digests = list(dict.fromkeys(snapshots))
    kinds = needed_kinds(store, digests)
    extra: dict[bytes, bytes] = {}
    items = []
    for digest in digests:
        bundles = store.snapshots.bundles(digest)
        _put(extra, kinds, bundles, "bundle")
        items.append(
            BundleSnapshot(
                digest=digest,
                name=store.snapshots.load(digest).name,
                signatures=[of_bytes(data) for data in bundles],
                proof=(proofs or {}).get(digest),
            )
        )
    _put(extra, kinds, statements, "statement")
    order = sorted(kinds)
    blobs = [
        BundleBlob(
            digest="sha256:" + raw.hex(),
            kind=kinds[raw],
            size=len(extra[raw] if raw in extra else store.blobs.fetch(raw)),
        )
        for raw in order
    ]
    index = BundleIndex(
        made_at=(now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool=TOOL,
        snapshots=items,
        statements=[of_bytes(data) for data in statements],
        keys=list(keys),
        blobs=blobs,
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
    if signer is not None and _signs_checkpoints(signer):
        for digest in digests:
            index = entry_for(store, digest).index
            proofs[digest] = prove(store, config, signer, trust, index=index).decode()
    statements = statements_about(store, digests)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            made = write_bundle(
                store, digests, file, proofs=proofs, statements=statements, keys=_suggested(trust)
            )
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return made


def statements_about(store: Store, snapshots: Sequence[str]) -> list[bytes]:
    """Signed statements about snapshots, in the order of the log.

    Approvals of their content, every revocation of those, and the last move of each tag that
    names one of them.

    Raises:
        TamperedError: The log or a statement is damaged.
    """
    manifests = {store.snapshots.load(digest).manifest for digest in snapshots} - {None}
    found: dict[str, int] = {}
    given: set[str | None] = set()
    for entry in store.log.entries(kinds=["approval"]):
        if entry.fact("manifest") in manifests:
            found.setdefault(entry.document, entry.index)
            given.update(digests_of(store.blobs.get(entry.document)))
    for entry in store.log.entries(kinds=["revocation"]):
        if entry.fact("revokes") in given:
            found.setdefault(entry.document, entry.index)
    for move in store.tags.current():
        if move.claim.to is not None and move.claim.to.snapshot in snapshots:
            found[move.entry.document] = move.entry.index
    return [store.blobs.get(document) for document in sorted(found, key=found.__getitem__)]


def _suggested(trust: Trust) -> list[SuggestedKey]:
    return [
        SuggestedKey(
            person=entry.person,
            groups=list(entry.groups),
            may=list(entry.may),
            pem=entry.key.pem.decode(),
        )
        for entry in trust.entries
    ]


def _signs_checkpoints(signer: Signer) -> bool:
    return read_public_key(signer.public_pem()).algorithm in _CHECKPOINT_KEYS


def _put(
    extra: dict[bytes, bytes], kinds: dict[bytes, BlobKind], blobs: Sequence[bytes], kind: BlobKind
) -> None:
    for data in blobs:
        raw = hashlib.sha256(data).digest()
        extra[raw] = data
        kinds[raw] = kind
