"""What every signer promises. Verifying takes keys from the trust configuration only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

from manifestd.errors import UsageError

Passphrase = Callable[[], bytes | None]
"""Gives the passphrase of an encrypted key, asking a person if need be; None: nobody is there."""

Action = Literal["snapshot", "approve", "tag", "gate"]
"""What a key may be trusted for; ``gate``: to say in a receipt that a gate was open."""


class Signer(ABC):
    """A private key somewhere. Made from a key URI; never shows the key.

    Args:
        uri: The key URI, scheme included (only ``file`` does without).
        passphrase: Gives the passphrase of an encrypted key; None when nobody can be asked.

    Attributes:
        scheme: The key URI scheme it serves (``file``, ``awskms``).
    """

    scheme: ClassVar[str]

    @abstractmethod
    def __init__(self, uri: str, *, passphrase: Passphrase | None = None) -> None: ...

    @abstractmethod
    def sign(self, data: bytes) -> bytes:
        """Signature over ``data``: DER ECDSA with the curve's SHA-2, or raw Ed25519."""

    @abstractmethod
    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM, 64-column lines, LF, final newline."""


def needed(signer: Signer | None, what: str) -> Signer:
    """The signer, where something cannot stay unsigned.

    Args:
        signer: The one that is configured, if any.
        what: What must be signed, for the message: "an approval".

    Raises:
        UsageError: There is none.
    """
    if signer is None:
        raise UsageError(
            f"{what} must be signed, and no key is configured",
            hint='name one with --key, or set `[signing] key = "keys/…"`',
        )
    return signer
