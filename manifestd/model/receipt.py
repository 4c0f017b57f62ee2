"""Receipts: short-lived signed statements that a gate was open for files that can be known again.

A receipt is a SLSA verification summary (VSA v1). Our extension member has the cheap
fingerprint by which a server that starts sees that nothing was written since, without hashing.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model import media_types
from manifestd.model.approval import Name
from manifestd.model.digest import hex_of
from manifestd.model.entry import Problem
from manifestd.model.manifest import Size
from manifestd.model.snapshot import HexDigest, Timestamp
from manifestd.model.statement import Statement, read_claim, subjects_of
from manifestd.model.tag import split_tag

OPEN: Final = "MANIFESTD_GATE_OPEN"
"""The level that a receipt states (VSA: own values must not begin with ``SLSA_``)."""

SCHEMA_CHECK: Final = "manifestd.receipt-check/v1"

_SITE: Final = "https://manifestd.dev/"


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tells one state of a file from every other, without reading it.

    Attributes:
        path: The file.
        size: Its bytes.
        identity: As the place states it: inode and times, or ETag and version.
    """

    path: str
    size: Size
    identity: dict[str, str]


class Receipt(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What a receipt says (docs/format/approvals.md).

    Attributes:
        tag: ``NAME:TAG`` whose gate was open.
        place: The place that passed, with its revision where it has one.
        snapshot: The snapshot of it.
        manifest: The bytes in it.
        policy: Digest of the policy that they passed.
        at: When the gate was open.
        expires: Last moment at which the receipt counts.
        ignore: Globs of files that were left out.
        files: Number of files.
        fingerprint: sha256 over a line for each file (path, size, identity), in path order.
        known: Those files, where they are few; otherwise empty.
        by: Who ran the gate.
        key_id: The key that signed; a hint.
        inputs: Digests of the statements it rests on: signatures, tag move, approvals.
        tool: Name and version of what wrote it.
    """

    tag: str
    place: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
    snapshot: HexDigest
    manifest: HexDigest
    policy: HexDigest
    at: Timestamp
    expires: Timestamp
    ignore: list[str]
    files: Size
    fingerprint: HexDigest
    known: list[Known]
    by: Name
    key_id: str
    inputs: list[HexDigest]
    tool: str


class ReceiptCheck(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``verify --receipt --format json``.

    Attributes:
        schema: Always ``manifestd.receipt-check/v1``.
        verified: The receipt counts, and nothing was written at the place since.
        tag: The gate that was open.
        place: Where the files were looked at now.
        snapshot: The snapshot that the receipt is about.
        manifest: The bytes in it.
        by: Who issued the receipt, by the trust configuration.
        at: When the gate was open.
        expires: Last moment at which the receipt counts.
        files: Files that were looked at, none of them read.
        problems: Why it does not hold.
    """

    schema: Literal["manifestd.receipt-check/v1"] = SCHEMA_CHECK
    verified: bool
    tag: str
    place: str
    snapshot: HexDigest
    manifest: HexDigest
    by: str
    at: Timestamp
    expires: Timestamp
    files: int
    problems: list[Problem]

    @property
    def exit_code(self) -> int:
        """0 verified, 4 not."""
        return 0 if self.verified else 4


def known_line(path: str, size: int, identity: dict[str, str]) -> bytes:
    """A file's line in a fingerprint."""
    return canonical.encode([path, size, identity]) + b"\n"


def receipt_statement(receipt: Receipt) -> bytes:
    """The canonical bytes of a receipt's statement: VSA v1 with our extension."""
    predicate: dict[str, Any] = {
        "verifier": {"id": f"{_SITE}verifier/gate/{receipt.key_id}"},
        "timeVerified": receipt.at,
        "resourceUri": receipt.place,
        "policy": {
            "uri": f"{_SITE}policy/{receipt.policy}",
            "digest": {"sha256": hex_of(receipt.policy)},
        },
        "inputAttestations": [
            {"uri": f"{_SITE}statement/{digest}", "digest": {"sha256": hex_of(digest)}}
            for digest in receipt.inputs
        ],
        "verificationResult": "PASSED",
        "verifiedLevels": [OPEN],
        media_types.RECEIPT_PREDICATE: msgspec.to_builtins(receipt),
    }
    return canonical.encode(
        Statement(
            subject=subjects_of(receipt.snapshot, receipt.manifest),
            predicate_type=media_types.VSA_PREDICATE,
            predicate=predicate,
        )
    )


def read_receipt_statement(payload: bytes) -> Receipt:
    """Decode a receipt's statement strictly. Whether it is signed is the caller's to know.

    Raises:
        MalformedError: Not such a statement, or its parts do not say the same.
        NotCanonicalError: Not its canonical bytes.
    """
    receipt = read_claim(
        payload,
        Receipt,
        receipt_statement,
        predicate_type=media_types.VSA_PREDICATE,
        what="a receipt",
        member=media_types.RECEIPT_PREDICATE,
    )
    if split_tag(receipt.tag) is None:
        raise MalformedError(f"not a tag: {receipt.tag[:300]!r}")
    return receipt
