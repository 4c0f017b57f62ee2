"""Signing a snapshot, and judging the signatures of snapshots and other statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from manifestd.errors import NotVerifiedError, SignatureError, UntrustedError
from manifestd.model.change import SignatureState
from manifestd.model.snapshot import Snapshot, moment_of
from manifestd.model.verification import SignatureCheck
from manifestd.signing.base import Action, Signer
from manifestd.signing.dsse import open_bundle, sign_statement, verify_bundle
from manifestd.signing.public import read_public_key
from manifestd.signing.statement import check_snapshot_statement, snapshot_statement
from manifestd.signing.trust import Trust
from manifestd.store import Store

_WORST_FIRST: Final[tuple[SignatureState, ...]] = ("invalid", "verified", "untrusted")


def sign_snapshot(record: Snapshot, digest: str, signer: Signer) -> bytes:
    """Sign the statement about a snapshot; returns the bundle to store with it.

    Args:
        record: The record.
        digest: ``sha256:<hex>`` of the record's stored bytes.
        signer: The key.

    Raises:
        SignatureError: The signer returned a signature that does not verify.
    """
    return sign_statement(snapshot_statement(record, digest), signer)


def signer_name(signer: Signer) -> str:
    """The key id under which the signer's signatures are known."""
    return read_public_key(signer.public_pem()).key_id


def judge_signature(
    bundle: bytes, *, digest: str, manifest: str | None, trust: Trust, at: datetime
) -> SignatureCheck:
    """Judge one signature; never raises for what is wrong with it.

    Args:
        bundle: Its bytes, as stored.
        digest: The snapshot it is stored with.
        manifest: The manifest digest in that snapshot's record.
        trust: The keys that count.
        at: The moment as of which the key must count: when the snapshot was taken.
    """
    return judge_statement(
        bundle,
        trust,
        "snapshot",
        at,
        lambda payload: check_snapshot_statement(payload, digest, manifest),
    )


def judge_statement(
    bundle: bytes,
    trust: Trust,
    action: Action,
    at: datetime,
    about: Callable[[bytes], object] | None = None,
) -> SignatureCheck:
    """Judge the signature of any statement; never raises for what is wrong with it.

    Args:
        bundle: Its bytes, as stored.
        trust: The keys that count.
        action: What the key must count for.
        at: The moment as of which it must: when what it says was done or logged.
        about: Raises when the payload speaks of something else than the caller asks about.
    """
    key_id, person = "unknown", None
    try:
        key_id = open_bundle(bundle).claimed_key()
        verified = verify_bundle(bundle, trust.public_keys())
        key_id, person = verified.key.key_id, trust.person(verified.key)
        if about is not None:
            about(verified.payload)
        person = trust.require(verified.key, action, at).person
    except NotVerifiedError as error:
        return SignatureCheck(
            state="untrusted" if isinstance(error, UntrustedError) else "invalid",
            key_id=key_id,
            person=person,
            code=error.code,
            why=error.told(),
            hint=error.hint,
        )
    return SignatureCheck(state="verified", key_id=key_id, person=person)


def judge_signatures(
    bundles: Iterable[bytes], *, digest: str, manifest: str | None, trust: Trust, at: datetime
) -> list[SignatureCheck]:
    """Judge each signature of a snapshot, in stored order."""
    return [
        judge_signature(bundle, digest=digest, manifest=manifest, trust=trust, at=at)
        for bundle in bundles
    ]


def overall_state(checks: list[SignatureCheck]) -> tuple[SignatureState, list[str]]:
    """One state for all signatures of a snapshot, and who stands behind it.

    One signature that is invalid makes the whole invalid: somebody put it there.
    Otherwise the best counts. Names are those of the signatures with that state.
    """
    for state in _WORST_FIRST:
        names = [check.who() for check in checks if check.state == state]
        if names:
            return state, list(dict.fromkeys(names))
    return "unsigned", []


def signature_state(
    bundles: Iterable[bytes], digest: str, manifest: str | None, trust: Trust, at: datetime
) -> tuple[SignatureState, list[str]]:
    """The state of a snapshot's signatures, and the names of who signed.

    Args:
        bundles: Its signatures.
        digest: The snapshot.
        manifest: The manifest digest in its record.
        trust: The keys that count.
        at: When the snapshot was taken; keys are judged as of then.
    """
    return overall_state(
        judge_signatures(bundles, digest=digest, manifest=manifest, trust=trust, at=at)
    )


def signatures_of(
    store: Store, digest: str, record: Snapshot, trust: Trust
) -> list[SignatureCheck]:
    """Judge each signature of a stored snapshot; errors as :func:`signature_of`."""
    return judge_signatures(
        store.snapshots.bundles(digest),
        digest=digest,
        manifest=record.manifest,
        trust=trust,
        at=moment_of(record.captured_at),
    )


def signature_of(
    store: Store, digest: str, record: Snapshot, trust: Trust
) -> tuple[SignatureState, list[str]]:
    """The state of a stored snapshot's signatures, and the names of who signed.

    Raises:
        TamperedError: A stored signature does not have its digest.
        MalformedError: The record was taken at no moment in time.
    """
    return overall_state(signatures_of(store, digest, record, trust))


def unbroken_signature_of(
    store: Store, digest: str, record: Snapshot, trust: Trust
) -> SignatureState:
    """The state of a stored snapshot's signatures, where a wrong one stops everything.

    Raises:
        SignatureError: One does not verify.
        TamperedError, MalformedError: As :func:`signature_of`.
    """
    state, _ = signature_of(store, digest, record, trust)
    if state == "invalid":
        raise SignatureError(
            f"the snapshot {digest} has a signature that does not verify",
            hint=f"run `manifestd verify {digest[:19]}`",
        )
    return state
