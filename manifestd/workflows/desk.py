"""By what statements are judged and signed: the rules, the keys that count, one's own key, the time."""

from __future__ import annotations

from datetime import datetime

import msgspec

from manifestd.config import Config
from manifestd.signing.base import Action, Signer, needed
from manifestd.signing.public import PublicKey, read_public_key
from manifestd.signing.trust import Trust


class Hand(msgspec.Struct, frozen=True, kw_only=True):
    """A key that signs, and whose it is."""

    signer: Signer
    key_id: str
    person: str


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """By what statements are judged and signed.

    Attributes:
        config: Has the rules and the policy.
        trust: The keys that count.
        now: The moment as of which approvals must count.
        tool: Name and version of what writes statements.
        signer: The key of whoever sits here; None: none is configured, or nothing is signed.
    """

    config: Config
    trust: Trust
    now: datetime
    tool: str
    signer: Signer | None = None

    def own_key(self, what: str) -> tuple[Signer, PublicKey]:
        """The key that signs here, whatever it counts for.

        Args:
            what: What must be signed, for the message: "a revocation".

        Raises:
            UsageError: No key is configured.
        """
        signer = needed(self.signer, what)
        return signer, read_public_key(signer.public_pem())

    def authority(self, what: str, action: Action) -> Hand:
        """The key that signs here, if it counts for this.

        Args:
            what: What must be signed, for the message.
            action: What the key must count for.

        Raises:
            UsageError: No key is configured.
            UntrustedError: The key does not count for it now.
        """
        signer, key = self.own_key(what)
        person = self.trust.require(key, action, self.now).person
        return Hand(signer=signer, key_id=key.key_id, person=person)
