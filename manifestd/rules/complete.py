"""What can be released: only a snapshot whose content identity is known."""

from __future__ import annotations

from manifestd.errors import UsageError
from manifestd.model.snapshot import HexDigest, Snapshot


def identity_of(digest: str, record: Snapshot, done: str) -> HexDigest:
    """The content identity of a snapshot that is to be named, approved or pinned.

    Args:
        digest: The snapshot.
        record: Its record.
        done: What is to be done to it, for the message: "approved".

    Raises:
        UsageError: It is incomplete, so that there is no such identity.
    """
    if record.manifest is None or not record.complete:
        raise UsageError(
            f"the snapshot {digest} is incomplete and cannot be {done}",
            why="not every file's sha256 is known, so it has no content identity"
            if record.manifest is None
            else "some of its files could not be read or were refused: its list is not the whole",
            hint="take it again with --read all, and look at its problems with `manifestd show`",
            facts={"snapshot": digest},
        )
    return record.manifest
