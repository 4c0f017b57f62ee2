"""What the store answers with, and how a record's index row is made from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, NotCanonicalError
from manifestd.model.digest import Digest, parse_digest
from manifestd.model.envelope import decode_base64
from manifestd.model.reference import HubReference
from manifestd.model.snapshot import Snapshot, moment_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_BUNDLE: Final = 16 * 1024 * 1024

COLUMNS: Final = (
    "digest, manifest, name, source, requested, revision, captured, captured_at,"
    " complete, files, bytes"
)
"""Columns of the index table ``snapshot`` besides its id, in the order of :func:`index_row`."""

IndexRow = tuple[
    bytes, bytes | None, str, str, str | None, str | None, int, str, int, int, int
]  # fmt: skip


class Row(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One snapshot in a list: what its record says, and whether a signature is kept with it.

    ``signed`` does not say that a signature verifies.
    """

    digest: str
    manifest: str | None
    name: str
    source: str
    requested: str | None
    revision: str | None
    captured_at: str
    complete: bool
    files: int
    bytes: int
    signed: bool


class Place(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One file of one snapshot that holds a digest that was asked for."""

    snapshot: str
    source: str
    name: str
    captured_at: str
    path: str
    size: int


def decode_record(data: bytes) -> Snapshot:
    """Decode a snapshot record strictly.

    Raises:
        MalformedError: Not a record, or its time does not exist.
        NotCanonicalError: Its bytes are not canonical.
    """
    record = canonical.decode(data, Snapshot, name="snapshot record")
    microseconds(record.captured_at)
    return record


def microseconds(timestamp: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time in UTC.

    Raises:
        MalformedError: No such time.
    """
    moment = moment_of(timestamp)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def index_row(digest: bytes, record: Snapshot) -> IndexRow:
    """The row of the index table that a record has, :data:`COLUMNS`."""
    return (
        digest,
        None if record.manifest is None else bytes.fromhex(record.manifest[7:]),
        record.name,
        record.source,
        record.requested,
        record.revision,
        microseconds(record.captured_at),
        record.captured_at,
        int(record.complete),
        record.files,
        record.bytes,
    )


def list_row(digest: bytes, record: Snapshot, *, signed: bool) -> Row:
    """A record as it is listed."""
    return Row(
        digest="sha256:" + digest.hex(),
        manifest=record.manifest,
        name=record.name,
        source=record.source,
        requested=record.requested,
        revision=record.revision,
        captured_at=record.captured_at,
        complete=record.complete,
        files=record.files,
        bytes=record.bytes,
        signed=signed,
    )


def was_called(record: Snapshot, reference: HubReference) -> bool:
    """Whether a record is of a Hub repository that was asked for by this name, and had another."""
    prefix = reference.place().removesuffix(reference.repo_id)
    kind, _, name = record.source.partition(prefix)
    # hf://datasets/org/name begins as a model's place does.
    alike = not kind and name.count("/") <= 1
    return alike and record.facts.get("renamedFrom") == reference.repo_id


def payload_of(bundle: bytes) -> bytes:
    """The payload of a signature bundle. Nothing is verified here.

    Raises:
        MalformedError: Not a bundle with a DSSE envelope.
    """
    document = canonical.decode_foreign(bundle, name="signature", max_size=_MAX_BUNDLE)
    try:
        return decode_base64(document["dsseEnvelope"]["payload"])
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedError("not a signature bundle with an in-toto statement") from error


def subjects_of(bundle: bytes) -> tuple[str, list[Digest]]:
    """What a signature bundle is about: predicate type and its subjects' sha256.

    Nothing is verified here; it only says where to file the bundle.

    Raises:
        MalformedError: Not a bundle with an in-toto statement.
    """
    payload = payload_of(bundle)
    try:
        statement = canonical.decode_foreign(payload, name="statement", max_size=_MAX_BUNDLE)
        values = [subject["digest"].get("sha256") for subject in statement["subject"]]
        predicate = statement["predicateType"]
    except (KeyError, TypeError, AttributeError, NotCanonicalError) as error:
        raise MalformedError("not a signature bundle with an in-toto statement") from error
    named = [f"sha256:{value}" for value in values if isinstance(value, str)]
    return str(predicate), [parse_digest(text) for text in named]
