"""``verify`` of what lies in bundles: also the proof that its maker's log holds the snapshot."""

from __future__ import annotations

import msgspec

from manifestd.errors import MismatchError, NotVerifiedError, UntrustedError
from manifestd.model.verification import Flaw, ProofCheck, VerifyResult
from manifestd.signing.trust import Trust
from manifestd.workflows.opened import Opened
from manifestd.workflows.proofs import verify_proof
from manifestd.workflows.verify import verify_references


def verify_opened(found: Opened, trust: Trust) -> list[VerifyResult]:
    """Verify each snapshot that was named, and the proofs that bundles carry for them.

    A proof that is wrong makes its snapshot not verified; one by a key that is not trusted
    is said, and proves nothing.

    Raises:
        UsageError: A reference is ambiguous or malformed.
    """
    results = verify_references(found.store, found.known, trust)
    return [
        _with_proof(msgspec.structs.replace(result, reference=shown), found, trust)
        for result, shown in zip(results, found.shown, strict=True)
    ]


def _with_proof(result: VerifyResult, found: Opened, trust: Trust) -> VerifyResult:
    proof = found.proofs.get(result.snapshot or "")
    if proof is None or result.snapshot is None:
        return result
    check = _check(proof.encode(), result.snapshot, trust)
    if check.state != "invalid":
        return msgspec.structs.replace(result, proof=check)
    flaw = Flaw(code=MismatchError.code, what=f"the proof of its log is wrong: {check.why}")
    return msgspec.structs.replace(
        result, proof=check, verified=False, exit_code=4, flaws=[*result.flaws, flaw]
    )


def _check(proof: bytes, snapshot: str, trust: Trust) -> ProofCheck:
    try:
        seen = verify_proof(proof, trust)
    except NotVerifiedError as error:
        return ProofCheck(
            state="untrusted" if isinstance(error, UntrustedError) else "invalid",
            why=error.told(),
        )
    entry, checkpoint = seen.entry, seen.checkpoint
    assert entry is not None
    assert checkpoint is not None
    if (entry.kind, entry.document) != ("snapshot", snapshot):
        return ProofCheck(state="invalid", why=f"it is about {entry.document}")
    return ProofCheck(
        state="verified",
        origin=checkpoint.origin,
        signed_by=checkpoint.signed_by,
        entry=entry.index,
        at=entry.at,
    )
