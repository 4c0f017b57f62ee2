"""The list of a snapshot's files as a document (contract, section 5, ``manifestd.files/v1``)."""

from __future__ import annotations

from typing import Literal

import msgspec

from manifestd.model import media_types
from manifestd.model.entry import File, Role
from manifestd.model.evidence import Grade
from manifestd.model.manifest import Size
from manifestd.model.snapshot import HexDigest


class ListedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file as ``files --format json`` shows it.

    Attributes:
        path: Path inside the repository, literally.
        size: Bytes.
        role: What kind of file it is, by its name.
        digests: algorithm -> lower-case hex, every one known.
        evidence: algorithm -> grade, the same keys as ``digests``.
        identity: The source's own identity of the object (etag, versionId, blobId …).
    """

    path: str
    size: Size
    role: Role
    digests: dict[str, str]
    evidence: dict[str, Grade]
    identity: dict[str, str]


class FileList(msgspec.Struct, frozen=True, kw_only=True):
    """What ``files --format json`` prints; ``files`` is in path order."""

    schema: Literal["manifestd.files/v1"] = media_types.SCHEMA_FILES
    snapshot: HexDigest
    files: list[ListedFile]


def listed(file: File) -> ListedFile:
    """A stored file as the document shows it.

    Every digest has a grade; one the record forgot to grade counts as ``none``.
    """
    digests = file.digests()
    return ListedFile(
        path=file.path,
        size=file.size,
        role=file.seen.role,
        digests=digests,
        evidence={name: file.seen.evidence.get(name, "none") for name in digests},
        identity=file.seen.identity,
    )
