"""What ``gate`` answers: each thing that must hold, why it does not, and what would open it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from manifestd.model.approvals import ApprovalStatus
from manifestd.model.snapshot import HexDigest, Timestamp
from manifestd.model.tag import Target

SCHEMA_GATE: Final = "manifestd.gate/v1"

CheckName = Literal["tag", "bytes", "signature", "evidence", "policy", "approvals"]
CheckState = Literal["ok", "closed", "unknown", "invalid"]

_CODES: Final[dict[str, int]] = {"ok": 0, "unknown": 3, "closed": 1, "invalid": 4}
_WORST_FIRST: Final = (4, 1, 3)


class GateCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold.

    Attributes:
        name: What was looked at.
        state: ``ok``; ``closed``: it does not hold; ``unknown``: that could not be decided;
            ``invalid``: something does not verify.
        what: One line for people.
        details: Further lines: files, findings, who is missing.
        opens: What would open it, when it is not ok.
    """

    name: CheckName
    state: CheckState
    what: str
    details: list[str] = []
    opens: str | None = None


class GateReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``gate --format json``.

    Attributes:
        schema: Always ``manifestd.gate/v1``.
        tag: ``NAME:TAG``.
        reference: What was asked about, as it was typed.
        open: Everything holds.
        exit_code: 0 open, 1 closed, 3 could not be decided, 4 something does not verify.
        at: The moment as of which it was judged.
        fresh: The place was looked at now; otherwise a stored snapshot was judged.
        source: The place.
        snapshot: The snapshot that was judged; null: none could be taken.
        manifest: The bytes in it.
        released: What the tag names; null: nothing.
        policy: Digest of the policy that the snapshot was judged by.
        checks: All that was looked at, in order.
        approvals: Who approved, and who is missing.
        receipt: Where the receipt was written.
    """

    schema: Literal["manifestd.gate/v1"] = SCHEMA_GATE
    tag: str
    reference: str
    open: bool
    exit_code: int
    at: Timestamp
    fresh: bool
    source: str | None
    snapshot: HexDigest | None
    manifest: HexDigest | None
    released: Target | None
    policy: HexDigest | None
    checks: list[GateCheck]
    approvals: ApprovalStatus | None
    receipt: str | None = None


def exit_code_of(checks: list[GateCheck]) -> int:
    """4, then 1, then 3, then 0, as the contract orders them."""
    codes = {_CODES[check.state] for check in checks}
    return next((code for code in _WORST_FIRST if code in codes), 0)
