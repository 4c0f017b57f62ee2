"""What every signer promises. Verifying takes keys from the trust configuration only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar


class Signer(ABC):
    """A private key somewhere. Made from a key URI; never shows the key.

    Attributes:
        scheme: The key URI scheme it serves (``file``, ``awskms``).
    """

    scheme: ClassVar[str]

    @abstractmethod
    def sign(self, data: bytes) -> bytes:
        """Signature over ``data``: DER ECDSA with the curve's SHA-2, or raw Ed25519."""

    @abstractmethod
    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM, 64-column lines, LF, final newline."""
