"""Judging signed statements of the history: tag moves and tombstones."""

from __future__ import annotations

from datetime import datetime

from manifestd.errors import NotVerifiedError, UntrustedError
from manifestd.signing.base import Action
from manifestd.signing.dsse import open_bundle, verify_bundle
from manifestd.signing.trust import Trust
from manifestd.workflows.sign import SignatureCheck


def judge_statement(bundle: bytes, trust: Trust, action: Action, at: datetime) -> SignatureCheck:
    """Judge the signature of a statement; never raises for what is wrong with it.

    Args:
        bundle: Its bytes, as stored.
        trust: The keys that count.
        action: What the key must count for.
        at: The moment as of which it must: when the statement was logged.
    """
    key_id, person = "unknown", None
    try:
        key_id = open_bundle(bundle).claimed_key()
        verified = verify_bundle(bundle, trust.public_keys())
        key_id, person = verified.key.key_id, trust.person(verified.key)
        person = trust.require(verified.key, action, at).person
    except NotVerifiedError as error:
        return SignatureCheck(
            state="untrusted" if isinstance(error, UntrustedError) else "invalid",
            key_id=key_id,
            person=person,
            code=error.code,
            why=f"{error.what}: {error.why}" if error.why else error.what,
            hint=error.hint,
        )
    return SignatureCheck(state="verified", key_id=key_id, person=person)
