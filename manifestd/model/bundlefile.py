"""The bundle file: snapshots and all they need, in one file for the way across an air gap.

``docs/format/bundle.md`` is normative. No byte of the file is free: the first
line has the digest of the index, the index that of every blob, and the blobs
follow each other to the end of the file.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, TamperedError
from manifestd.model import media_types
from manifestd.model.snapshot import HexDigest, Timestamp

MAGIC: Final = b"manifestd-bundle/v1 "
MAX_INDEX: Final = 64 * 1024 * 1024
MAX_BLOB: Final = 256 * 1024 * 1024
MAX_PROOF: Final = 256 * 1024
LONGEST_LINE: Final = 128

BlobKind = Literal["record", "leaf", "node", "body", "facts", "chunks", "bundle", "statement"]

_LINE = re.compile(rb"manifestd-bundle/v1 ([1-9][0-9]{0,8}) sha256:([0-9a-f]{64})\n\Z")


class BundleBlob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One blob, in the order of the file."""

    digest: HexDigest
    kind: BlobKind
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_BLOB)]


class BundleSnapshot(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """One snapshot: its record, its signatures, the proof that it was logged.

    Attributes:
        digest: Of the record.
        name: As in the record, so that a bundle of several can be asked by name.
        signatures: Digests of its signature bundles.
        proof: A C2SP tlog-proof with a signed checkpoint, or None.
    """

    digest: HexDigest
    name: str
    signatures: list[HexDigest] = []
    proof: Annotated[str, msgspec.Meta(max_length=MAX_PROOF)] | None = None


class SuggestedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key the maker of the bundle trusted. A reader never trusts it by itself."""

    person: str
    groups: list[str] = []
    may: list[str] = []
    pem: str


class BundleIndex(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The index (``manifestd.bundle/v1``): what is in the file, in the order it is there.

    Attributes:
        made_at: When, by the maker's clock.
        tool: Name and version of what wrote it.
        snapshots: What it carries.
        statements: Digests of signed statements about these snapshots, in the order in which
            they were logged: approvals, revocations, the last move of each tag.
        keys: Suggested keys.
        blobs: Every blob, each once.
    """

    schema: Literal["manifestd.bundle/v1"] = media_types.SCHEMA_BUNDLE
    made_at: Timestamp
    tool: str
    snapshots: list[BundleSnapshot]
    statements: list[HexDigest] = []
    keys: list[SuggestedKey] = []
    blobs: list[BundleBlob]


def head_of(index: BundleIndex) -> bytes:
    """The first line and the index: everything before the blobs."""
    data = canonical.encode(index)
    return b"%b%d sha256:%b\n%b" % (MAGIC, len(data), canonical.sha256_hex(data).encode(), data)


def parse_line(line: bytes) -> tuple[int, str]:
    """Length and hex digest of the index, from the first line.

    Raises:
        MalformedError: Not the first line of a bundle.
    """
    found = _LINE.match(line)
    if found is None or int(found[1]) > MAX_INDEX:
        raise MalformedError("not a manifestd bundle, or one of a newer version")
    return int(found[1]), found[2].decode()


def parse_index(data: bytes, sha256: str) -> BundleIndex:
    """The index, checked against the digest in the first line.

    Raises:
        TamperedError: It does not have that digest.
        MalformedError, NotCanonicalError: It is not an index.
    """
    if canonical.sha256_hex(data) != sha256:
        raise TamperedError("the bundle's index does not have the digest in its first line")
    index = canonical.decode(data, BundleIndex, name="the bundle's index", max_size=MAX_INDEX)
    digests = [blob.digest for blob in index.blobs]
    if len(set(digests)) != len(digests):
        raise MalformedError("the bundle's index lists a blob twice")
    known = set(digests)
    named = [item.digest for item in index.snapshots] + index.statements
    named += [digest for item in index.snapshots for digest in item.signatures]
    missing = next((digest for digest in named if digest not in known), None)
    if missing is not None or not index.snapshots:
        raise MalformedError(f"the bundle lacks {missing or 'any snapshot'}")
    _check_kinds(index)
    return index


def _check_kinds(index: BundleIndex) -> None:
    """Every record, signature and statement is named as such, once, and no other blob is one."""
    groups: dict[BlobKind, list[str]] = {
        "record": [item.digest for item in index.snapshots],
        "bundle": [digest for item in index.snapshots for digest in item.signatures],
        "statement": index.statements,
    }
    kinds = {blob.digest: blob.kind for blob in index.blobs}
    for kind, named in groups.items():
        # One signature may be about several snapshots; records and statements stand once.
        if kind != "bundle" and len(set(named)) != len(named):
            raise MalformedError(f"the bundle's index names a {kind} twice")
        if {digest for digest, found in kinds.items() if found == kind} != set(named):
            raise MalformedError(f"the bundle's index lies about what is a {kind}")
