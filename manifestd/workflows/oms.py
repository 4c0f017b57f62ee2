"""OpenSSF model signatures against stored digests: verified, made and noticed without model bytes."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from manifestd import canonical
from manifestd.errors import NotVerifiedError, UsageError
from manifestd.model import media_types
from manifestd.model.snapshot import Snapshot
from manifestd.rules.oms import PREDICATE, Answer, Outcome, judge, read_claim, statement
from manifestd.signing.base import Signer
from manifestd.signing.dsse import open_bundle, sign_statement, verify_bundle
from manifestd.signing.public import PublicKey, read_public_key
from manifestd.store import Store

MAX_SIGNATURE: Final = 64 * 1024 * 1024
"""Bytes; about 250,000 files."""
_LOOKED_AT: Final = 1024 * 1024

EXIT_CODES: Final[dict[Answer, int]] = {
    "verified": 0,
    "mismatch": 4,
    "cannot check": 3,
    "bad signature": 4,
}


class OmsResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``oms verify --format json`` prints (``manifestd.oms/v1``)."""

    schema: Literal["manifestd.oms/v1"] = media_types.SCHEMA_OMS
    snapshot: str
    manifest: str | None
    source: str
    model: str | None
    key: str | None
    answer: Answer
    outcome: Outcome


def verify_signature(store: Store, reference: str, signature: bytes, key: PublicKey) -> OmsResult:
    """Check a publisher's signature against a stored snapshot, the model's bytes absent.

    Steps as in docs/howto/oms.md: the signature over the payload first, with the
    given key; only then is the payload parsed.
    """
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    model: str | None = None
    try:
        verified = verify_bundle(signature, [key], own=False, max_size=MAX_SIGNATURE)
        claim = read_claim(verified.payload)
        model = claim.model
        outcome = judge(claim, *_files(store, record, signature))
    except NotVerifiedError as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
        outcome = Outcome(answer="bad signature", why=why)
    return OmsResult(
        snapshot=digest,
        manifest=record.manifest,
        source=record.source,
        model=model,
        key=key.key_id if outcome.answer != "bad signature" else None,
        answer=outcome.answer,
        outcome=outcome,
    )


def _files(
    store: Store, record: Snapshot, signature: bytes
) -> tuple[dict[str, tuple[int, str | None]], str | None]:
    """The snapshot's files, and where among them this very signature lies."""
    own = canonical.sha256_hex(signature)
    files: dict[str, tuple[int, str | None]] = {}
    own_path: str | None = None
    for path, size, sha256 in store.trees.content(record.content):
        files[path] = (size, sha256)
        if sha256 == own:
            own_path = path
    return files, own_path


def sign_as_oms(store: Store, reference: str, signer: Signer, ignore: tuple[str, ...]) -> bytes:
    """Sign a stored snapshot as ``model_signing sign`` would sign the directory.

    Args:
        store: Where the snapshot is.
        reference: Which one.
        signer: A key on P-256, P-384 or P-521; others are not verified by OMS tools.
        ignore: Paths to leave out besides the defaults, the signature's own among them.

    Raises:
        UsageError: The key's kind, an incomplete snapshot, or a path OMS cannot carry.
    """
    key = read_public_key(signer.public_pem())
    if key.algorithm == "ed25519":
        raise UsageError(
            "an OMS signature needs a key on P-256, P-384 or P-521, this one is Ed25519",
            hint="make one: `manifestd key new --algorithm p256 keys/oms.pem`",
        )
    record = store.snapshots.load(store.snapshots.resolve(reference))
    if record.manifest is None:
        raise UsageError(
            "the snapshot is incomplete: a file's sha256 is not known",
            hint="take it again with --read missing",
        )
    files = {
        path: sha256
        for path, _, sha256 in store.trees.content(record.content)
        if sha256 is not None
    }
    name = record.name.rpartition("/")[2]
    return sign_statement(statement(name, files, ignore), signer)


def carried_signatures(store: Store, record: Snapshot) -> list[str]:
    """What a snapshot says of the model signatures it contains: one line each, nothing verified."""
    lines = []
    for path, size, sha256 in store.trees.content(record.content):
        if not path.endswith(".sig") or sha256 is None or size > _LOOKED_AT:
            continue
        if store.blobs.has("sha256:" + sha256):
            lines.append(f"{path}: {_description(store.blobs.get('sha256:' + sha256))}")
    return lines


def _description(data: bytes) -> str:
    try:
        parts = open_bundle(data)
        document: Any = canonical.decode_foreign(parts.payload, name="payload")
        kind = document.get("predicateType") if isinstance(document, dict) else None
    except NotVerifiedError as error:
        return f"not a signature that can be checked here ({error.what})"
    if kind != PREDICATE:
        return "a signed statement, but not an OpenSSF model signature"
    return (
        f"an OpenSSF model signature by the key {parts.claimed_key()[:12]}, not verified; "
        "check it with `manifestd oms verify`"
    )


def read_key(pem: bytes) -> PublicKey:
    """The public key that the caller trusts for this publisher."""
    return read_public_key(pem)
