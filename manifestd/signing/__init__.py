"""Keys, by the scheme of their URI. One line here is all a new kind of key needs.

Reading order: ``base`` (what a signer promises), ``public`` (public keys and
their names), ``file`` and ``awskms`` (private keys), ``trust`` (whose
signatures count), ``statement`` (what is signed), ``dsse`` (how).
"""

from __future__ import annotations

from manifestd.errors import UsageError
from manifestd.plugins import Family
from manifestd.signing.base import Passphrase, Signer

SIGNERS: Family[Signer] = Family(
    "signing",
    {
        "file": "manifestd.signing.file:FileSigner",
        "awskms": "manifestd.signing.awskms:KmsSigner",
    },
)


def signer_for(uri: str, *, passphrase: Passphrase | None = None) -> Signer:
    """The signer for a key URI; text without a scheme is the path of a key file.

    Args:
        uri: ``keys/manifestd.pem``, ``file:///abs/key.pem``, ``awskms:///alias/NAME``.
        passphrase: Gives the passphrase of an encrypted key; None when nobody can be asked.

    Raises:
        UsageError: No signer serves this scheme, or the key cannot be used as it is.
        UndecidedError: The key service refuses or does not answer.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        scheme = "file"
    if scheme not in SIGNERS.names():
        raise UsageError(
            f"no signer for keys of the kind {scheme[:40]!r}",
            hint="known are " + ", ".join(f"{name}:///…" for name in SIGNERS.names()),
        )
    return SIGNERS.load(scheme)(uri, passphrase=passphrase)
