"""OpenSSF model signatures against stored digests: verified, made and noticed without model bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from manifestd import canonical
from manifestd.errors import NotVerifiedError, UntrustedError, UsageError
from manifestd.model.oms import OmsResult, Outcome
from manifestd.model.snapshot import Snapshot
from manifestd.rules.complete import identity_of
from manifestd.rules.globs import matches_any
from manifestd.rules.oms import (
    OLD_PREDICATE,
    PREDICATE,
    judge,
    old_version,
    read_claim,
    statement,
)
from manifestd.signing.base import Signer
from manifestd.signing.dsse import (
    Opened,
    OtherTrustError,
    Verified,
    open_bundle,
    sign_statement,
    verify_bundle,
)
from manifestd.signing.public import PublicKey, read_public_key
from manifestd.signing.trust import Trust
from manifestd.store import Store

MAX_SIGNATURE: Final = 64 * 1024 * 1024
"""Bytes; about 250,000 files."""
_LOOKED_AT: Final = 1024 * 1024
_SHOWN: Final = 20


def verify_signature(
    store: Store, reference: str, signature: bytes, by: PublicKey | Trust
) -> OmsResult:
    """Check a publisher's signature against a stored snapshot, the model's bytes absent.

    The signature over the payload comes first; only then is the payload parsed
    (docs/howto/oms.md has the steps).

    Args:
        store: Where the snapshot is.
        reference: Which one.
        signature: The file's bytes.
        by: The key it must be by, or the keys that count here: then one of those that may sign
            snapshots now.

    Raises:
        UsageError, UndecidedError: The reference names no snapshot, or several.
    """
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    model, key = None, None
    try:
        opened = _opened(signature, by)
        claim = read_claim(opened.payload)
        model, key = claim.model, opened.key.key_id
        files, own_path = _files(store, record, signature)
        outcome = judge(claim, files, own_path, _left_out(record))
    except OtherTrustError as error:
        outcome = Outcome(answer="cannot check", why=error.told())
    except NotVerifiedError as error:
        outcome = _refused(signature, error, by)
    return OmsResult(
        snapshot=digest,
        manifest=record.manifest,
        source=record.source,
        model=model,
        key=key,
        answer=outcome.answer,
        outcome=outcome,
    )


def _opened(signature: bytes, by: PublicKey | Trust) -> Verified:
    keys = by.public_keys() if isinstance(by, Trust) else [by]
    opened = verify_bundle(signature, keys, own=False, max_size=MAX_SIGNATURE)
    if isinstance(by, Trust):
        by.require(opened.key, "snapshot", datetime.now(UTC))
    return opened


def _refused(signature: bytes, error: NotVerifiedError, by: PublicKey | Trust) -> Outcome:
    """A signature that is wrong; or one of version 0.2, which no DSSE verifier could accept."""
    try:
        parts = open_bundle(signature, max_size=MAX_SIGNATURE)
        old = _predicate_of(parts.payload) == OLD_PREDICATE
    except NotVerifiedError:
        return Outcome(answer="bad signature", why=error.told())
    if old:
        return Outcome(answer="cannot check", why=old_version().told())
    if isinstance(error, UntrustedError) and not isinstance(by, Trust):
        return Outcome(answer="bad signature", why=not_by(parts, by))
    return Outcome(answer="bad signature", why=error.told())


def not_by(parts: Opened, key: PublicKey) -> str:
    """That a signature is by another key than the one that was given, in words that compare."""
    given = f"hint {key.hint[:12]}" if _by_hint(parts) else key.key_id[:12]
    return f"it is not by the key given ({given}); it says it is by {_claimed(parts)}"


def _by_hint(parts: Opened) -> bool:
    """Whether the signature names its key by a hint only, as the reference tool does."""
    return parts.claimed_key() == parts.hint


def _claimed(parts: Opened) -> str:
    """The key that a signature says it is by; `key show` shows both names of a key."""
    return f"{'hint ' if _by_hint(parts) else ''}{parts.claimed_key()[:12]}"


def _left_out(record: Snapshot) -> Callable[[str], str | None]:
    """Why the snapshot may lack a file that the model has."""
    problems = {item.path: item.what for item in record.problems if item.severity == "error"}

    def reason(path: str) -> str | None:
        if matches_any(path, record.selection.ignore):
            return "left out of the snapshot by --ignore"
        return problems.get(path) or problems.get(None)

    return reason


def _files(
    store: Store, record: Snapshot, signature: bytes
) -> tuple[dict[str, tuple[int, str | None]], str | None]:
    """The snapshot's files, and where among them this very signature lies."""
    own = canonical.sha256_hex(signature)
    files: dict[str, tuple[int, str | None]] = {}
    own_path: str | None = None
    for path, size, sha256 in store.trees.content(record.content):
        files[path] = (size, sha256)
        if sha256 == own and own_path is None:
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
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    identity_of(digest, record, "signed for others")
    files = {
        path: sha256
        for path, _, sha256 in store.trees.content(record.content)
        if sha256 is not None
    }
    name = record.name.rpartition("/")[2]
    return sign_statement(statement(name, files, ignore), signer)


def carried_signatures(store: Store, record: Snapshot) -> list[str]:
    """What a snapshot says of the signatures it contains: one line each, nothing verified."""
    lines: list[str] = []
    more = 0
    for path, size, sha256 in store.trees.content(record.content):
        if not path.endswith(".sig") or sha256 is None or size > _LOOKED_AT:
            continue
        if not store.blobs.has("sha256:" + sha256):
            continue
        if len(lines) < _SHOWN:
            lines.append(_description(path, store.blobs.get("sha256:" + sha256)))
        else:
            more += 1
    return [*lines, f"and {more} more files called *.sig"] if more else lines


def _description(path: str, data: bytes) -> str:
    check = "not verified here; check it with `manifestd oms verify`"
    try:
        parts = open_bundle(data)
        kind = _predicate_of(parts.payload)
    except OtherTrustError as error:
        return f"a signature: {path}, {error.what}"
    except NotVerifiedError as error:
        return f"{path}, which is no signature that can be checked here: {error.what}"
    if kind == PREDICATE:
        return f"an OpenSSF model signature: {path}, by the key {_claimed(parts)}, {check}"
    if kind == OLD_PREDICATE:
        return f"an OpenSSF model signature of version 0.2, which is not read: {path}"
    return f"{path}, a signed statement that is no OpenSSF model signature"


def _predicate_of(payload: bytes) -> Any:
    document = canonical.decode_foreign(payload, name="payload", max_size=MAX_SIGNATURE)
    return document.get("predicateType") if isinstance(document, dict) else None
