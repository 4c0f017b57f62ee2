"""Keys, by the scheme of their URI. One line here is all a new kind of key needs."""

from __future__ import annotations

from manifestd.plugins import Family
from manifestd.signing.base import Signer

SIGNERS: Family[Signer] = Family("signing", {"file": "manifestd.signing.file:FileSigner"})
