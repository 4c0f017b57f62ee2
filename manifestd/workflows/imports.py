"""``import``: a file from elsewhere, recognised by its content, becomes evidence in the store.

A bundle brings its own records. Everything else becomes a snapshot record that says what the
file said, with the file's name, kind and digest; nothing in it is better known than that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.config.shape import TagRule
from manifestd.errors import MalformedError, UnreadableError, UntrustedError, UsageError
from manifestd.model import media_types
from manifestd.model.bundlefile import MAGIC
from manifestd.model.digest import of_hex
from manifestd.model.importing import ImportKind, ImportResult
from manifestd.model.snapshot import SourceFacts
from manifestd.rules.sumlist import looks_like_list, parse_list
from manifestd.signing.base import Signer
from manifestd.signing.trust import Trust
from manifestd.store import Store
from manifestd.workflows.evidence_record import Listed, Origin, keep_evidence

MAX_FILE: Final = 256 * 1024 * 1024
"""Bytes of a file that is no bundle (a list of about two million files)."""


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be imported.

    Attributes:
        file: Where it is.
        name: Name to file it under; None: as the file suggests.
        place: ``s3://bucket/prefix/`` that S3 documents are read for.
        checksums: Compute-checksum reports about the same objects.
        oms_key: Public key (PEM) of an OMS signature's publisher.
        tool: Name and version of what imports.
    """

    file: Path
    name: str | None = None
    place: str | None = None
    checksums: tuple[Path, ...] = ()
    oms_key: bytes | None = None
    tool: str


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a file said.

    Attributes:
        kind: What it is.
        name: How to call it.
        files: What it says of each, in any order, each path once.
        ignored: Paths that it says it left out.
        facts: More about its origin.
        notes: What to know about it.
    """

    kind: ImportKind
    name: str
    files: list[Listed]
    ignored: list[str] = []
    facts: SourceFacts = {}
    notes: list[str] = []


def import_file(
    store: Store,
    request: ImportRequest,
    *,
    signer: Signer | None,
    trust: Trust,
    rules: Sequence[TagRule],
    now: datetime | None = None,
) -> ImportResult:
    """Bring one file into the store.

    Args:
        store: Opened for writing.
        request: Which file, and what to know about it.
        signer: Signs the record of what is no bundle; None: it stays unsigned.
        trust: By which the statements in a bundle are judged.
        rules: The ``[[tags]]`` rules that hold here.
        now: The time; None: now.

    Raises:
        UsageError: An option that is not for this kind of file.
        UnreadableError: It cannot be read.
        MalformedError: Damaged, or of no kind that is known.
        SignatureError, UntrustedError: An OMS signature that does not verify.
    """
    moment = now or datetime.now(UTC)
    try:
        with request.file.open("rb") as file:
            head = file.read(len(MAGIC))
        if head == MAGIC:
            return _bundle(store, request, trust, rules, moment)
        with request.file.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UnreadableError(f"{request.file} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise MalformedError(f"{request.file} is larger than {MAX_FILE} bytes")
    digest = of_hex(hashlib.sha256(data).hexdigest())
    said = _said(request, data)
    origin = Origin(
        kind=said.kind, file=request.file.name, digest=digest, facts=said.facts, tool=request.tool
    )
    kept = keep_evidence(
        store, said.files, origin, name=request.name or said.name, ignored=said.ignored,
        signer=signer, at=moment,
    )  # fmt: skip
    return ImportResult(
        kind=said.kind,
        file=request.file.name,
        digest=digest,
        snapshots=[kept.snapshot],
        new=int(kept.new),
        notes=[*said.notes, *kept.notes],
    )


def _bundle(
    store: Store, request: ImportRequest, trust: Trust, rules: Sequence[TagRule], now: datetime
) -> ImportResult:
    from manifestd.workflows.bundle import import_bundle, naming_bundle

    if request.name or request.place or request.checksums or request.oms_key:
        raise UsageError("a bundle says by itself what it holds; give no other options")
    with naming_bundle(request.file):
        found = import_bundle(store, request.file, trust=trust, rules=rules, now=now, inspect=True)
    with request.file.open("rb") as file:
        digest = of_hex(hashlib.file_digest(file, "sha256").hexdigest())
    return ImportResult(
        kind="bundle",
        file=request.file.name,
        digest=digest,
        snapshots=list(found.snapshots),
        new=found.new,
        statements=found.statements,
        suggested_keys=found.keys,
    )


def _said(request: ImportRequest, data: bytes) -> Said:
    """What a file says, by what it is."""
    document = _document(data)
    if document is None and looks_like_list(data):
        said = _list(request, data)
    elif isinstance(document, dict) and document.get("mediaType") == media_types.SIGSTORE_BUNDLE:
        said = _signature(request, data)
    elif document is not None or _is_report(data):
        said = _of_s3(request, document)
    else:
        raise _unknown(request)
    if (request.place or request.checksums) and not said.kind.startswith("s3-"):
        raise UsageError(f"--place and --checksums are for S3 documents, this is {said.kind}")
    if request.oms_key is not None and said.kind != "oms":
        raise UsageError(f"--oms-key is for OMS signatures, this is {said.kind}")
    return said


def _unknown(request: ImportRequest) -> MalformedError:
    return MalformedError(
        f"{request.file} is of no kind that can be imported, or damaged",
        hint="known are bundles, lists of sha256sum, OMS signatures, and the manifest.json of an "
        "S3 Inventory or a Compute-checksum report",
    )


def _document(data: bytes) -> Any:
    if not data[:64].lstrip().startswith(b"{"):
        return None
    return canonical.decode_foreign(data, name="the file", max_size=MAX_FILE)


def _is_report(data: bytes) -> bool:
    """Whether the first line has the seven fields of a completion report."""
    first = data[: 1 << 16].split(b"\n", 1)[0].decode("utf-8", "replace")
    return first.lower().startswith(("bucket,", '"bucket"')) or first.count('","') >= 6


def _list(request: ImportRequest, data: bytes) -> Said:
    found = parse_list(data)
    return Said(
        kind="sha256sum",
        name=request.file.stem,
        files=[
            Listed(path=path, digests={"sha256": value}, evidence={"sha256": "declared"})
            for path, value in found.items()
        ],
    )


def _signature(request: ImportRequest, data: bytes) -> Said:
    """An OMS signature; verified if the caller has the publisher's key."""
    from manifestd.rules.oms import read_claim, whole_file_claims
    from manifestd.signing.dsse import open_bundle, verify_bundle
    from manifestd.signing.public import read_public_key
    from manifestd.workflows.oms import not_by

    signed_by, notes = None, []
    if request.oms_key is not None:
        key = read_public_key(request.oms_key)
        try:
            payload = verify_bundle(data, [key], own=False, max_size=MAX_FILE).payload
        except UntrustedError as error:
            raise UntrustedError(
                f"{request.file}: {not_by(open_bundle(data, max_size=MAX_FILE), key)}",
                hint="give the publisher's own key; without --oms-key it is taken unverified",
            ) from error
        signed_by = key.key_id
    else:
        payload = open_bundle(data, max_size=MAX_FILE).payload
        notes.append("the signature was not verified: no --oms-key was given")
    claim = read_claim(payload)
    if claim.ignored:
        notes.append("the signature does not cover " + ", ".join(claim.ignored))
    return Said(
        kind="oms",
        name=claim.model if claim.model not in {"", "."} else request.file.stem,
        files=[
            Listed(
                path=path,
                size=size,
                digests={claim.hash_type: value} if value else {},
                evidence={claim.hash_type: "declared"} if value else {},
            )
            for path, size, value in whole_file_claims(claim)
        ],
        ignored=list(claim.ignored),
        facts={"originSignature": signed_by or "not verified"},
        notes=notes,
    )


def _of_s3(request: ImportRequest, document: Any) -> Said:
    if document is not None and not (
        isinstance(document, dict) and {"fileSchema", "Format"} & document.keys()
    ):
        raise _unknown(request)
    from manifestd.workflows.import_s3 import read_inventory, read_report

    if document is not None and "fileSchema" in document:
        found = read_inventory(request.file, document, request.place, request.checksums)
        kind: ImportKind = "s3-inventory"
    else:
        if request.checksums:
            raise UsageError("--checksums goes with an S3 Inventory, this is a report by itself")
        found = read_report(request.file, request.place)
        kind = "s3-checksums"
    return Said(
        kind=kind,
        name=found.name,
        files=found.files,
        facts=found.facts,
        notes=found.notes,
    )
