"""What verifying found: signatures, stored snapshots, places that were read again, what was pulled."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from manifestd.model import media_types
from manifestd.model.change import Counts, FileDiff, SignatureState
from manifestd.model.entry import Problem
from manifestd.model.manifest import Size
from manifestd.model.snapshot import Timestamp

MAX_FLAWS: Final = 100
"""Listed for one snapshot; the rest is counted."""


class SignatureCheck(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What one signature of a snapshot is worth.

    Attributes:
        state: ``verified``: right, by a key that counted for snapshots at the time;
            ``untrusted``: by a key that did not; ``invalid``: wrong, or about something else.
        key_id: The key's id; as the bundle claims it, unless the state is ``verified``.
        person: Who holds the key, by the trust configuration.
        code: The error's code, when not verified.
        why: The reason, when not verified.
        hint: One action, when there is one.
    """

    state: SignatureState
    key_id: str
    person: str | None = None
    code: str | None = None
    why: str | None = None
    hint: str | None = None

    def who(self) -> str:
        """The signer, for screens: a person, else the key's id."""
        return self.person or self.key_id


class Flaw(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing about a snapshot that does not verify, or could not be looked at.

    Attributes:
        code: The error's code (``store-tampered``, ``digest-mismatch`` …).
        what: One line for people.
        path: The file it is about.
        hint: One action, if there is one.
    """

    code: str
    what: str
    path: str | None = None
    hint: str | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """How much was read and found right.

    Attributes:
        files: Files in both trees.
        bodies: Kept bodies of small files.
        facts: Documents with facts and with chunk digests.
    """

    files: int = 0
    bodies: int = 0
    facts: int = 0


class ProofCheck(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the proof in a bundle is worth, that a log holds the snapshot.

    Attributes:
        state: ``verified``; ``untrusted``: no trusted key signed its checkpoint; ``invalid``:
            it is wrong, or about something else.
        origin: The log.
        signed_by: Who signed the checkpoint.
        entry: The snapshot's place in the log.
        at: When it was logged, by the clock of that machine.
        why: The reason, when not verified.
    """

    state: Literal["verified", "untrusted", "invalid"]
    origin: str | None = None
    signed_by: list[str] = []
    entry: int | None = None
    at: str | None = None
    why: str | None = None


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``verify`` found out about one reference.

    Attributes:
        reference: As it was given.
        verified: Content and signature are both right.
        content: ``verified``: every stored byte has its digest and the record says what the
            trees say; ``tampered``; ``unknown``: there is nothing stored to look at.
        signature: State over all signatures.
        signed_by: Who stands behind that state.
        signatures: Each signature.
        checked: How much was read.
        flaws: What is wrong, at most :data:`MAX_FLAWS`.
        more_flaws: Those not listed.
        proof: Of the log the snapshot comes from, where it lies in a bundle that has one.
        exit_code: 0, 4 (does not verify) or 3 (could not be decided).
    """

    reference: str
    verified: bool
    content: Literal["verified", "tampered", "unknown"]
    signature: SignatureState
    exit_code: int
    snapshot: str | None = None
    manifest: str | None = None
    name: str | None = None
    source: str | None = None
    revision: str | None = None
    captured_at: str | None = None
    signed_by: list[str] = []
    signatures: list[SignatureCheck] = []
    checked: Checked = Checked()
    flaws: list[Flaw] = []
    more_flaws: int = 0
    proof: ProofCheck | None = None


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``verify --format json`` prints."""

    schema: Literal["manifestd.verify/v1"] = "manifestd.verify/v1"
    verified: bool
    snapshots: list[VerifyResult]

    @property
    def exit_code(self) -> int:
        """4 before 3 before 0, as the contract orders them."""
        codes = {result.exit_code for result in self.snapshots}
        return next((code for code in (4, 3) if code in codes), 0)


class AgainstReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``verify --against --format json`` prints.

    Attributes:
        schema: Always ``manifestd.against/v1``.
        verified: The snapshot verifies and the place holds exactly its bytes.
        exit_code: 0, 1 (the place differs), 3 (undecided) or 4 (the snapshot does not verify,
            or the place's bytes contradict what the place itself says of them).
        stored: What verifying the snapshot gave.
        place: The place that was read.
        revision: Its revision, if it has one.
        read_at: When it was listed.
        read: Whether it was read at all; not if the stored snapshot is damaged.
        counts: Files by verdict, left the snapshot, right the place.
        files: Those that are not identical, in path order, at most some thousands.
        more_files: Those not listed.
        problems: What could not be read, and contradictions.
        bytes_read: Content bytes that crossed the source.
        requests: Requests made.
    """

    schema: Literal["manifestd.against/v1"] = media_types.SCHEMA_AGAINST
    verified: bool
    exit_code: int
    stored: VerifyResult
    place: str
    revision: str | None = None
    read_at: Timestamp | None = None
    read: bool = True
    counts: Counts = Counts()
    files: list[FileDiff] = []
    more_files: Size = 0
    problems: list[Problem] = []
    bytes_read: Size = 0
    requests: Size = 0


class Pulled(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``pull --format json`` prints.

    Attributes:
        reference: What was asked for, with the digest that it was.
        carriers: Digests of the carriers that were read.
        snapshots: What each brought, as verified with the keys that count here.
        new: How many of them were not stored before.
        problems: What was attached and not taken.
        verified: All of them verify.
    """

    schema: Literal["manifestd.pull/v1"] = "manifestd.pull/v1"
    reference: str
    carriers: list[str]
    snapshots: list[VerifyResult]
    new: int
    problems: list[Problem] = []
    verified: bool

    @property
    def exit_code(self) -> int:
        """0, or 4 when something that was stored does not verify."""
        return 0 if self.verified else 4
