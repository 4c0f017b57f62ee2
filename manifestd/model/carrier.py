"""The carrier: a snapshot as a small artifact that every registry takes (docs/howto/oci.md).

Two layers, the bundle file of the snapshot and its manifest document; signatures
are attached to the carrier as referrers, laid out as cosign's BUNDLE_SPEC says.
The same snapshot gives the same bytes, whenever it is pushed.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from manifestd import canonical
from manifestd.model import media_types
from manifestd.model.digest import of_bytes
from manifestd.model.snapshot import Snapshot

CARRIER: Final = "application/vnd.manifestd.snapshot.carrier.v1"
BUNDLE_LAYER: Final = "application/vnd.manifestd.bundle.v1"
SNAPSHOT_NOTE: Final = "dev.manifestd.snapshot"
MANIFEST_NOTE: Final = "dev.manifestd.manifest"
SOURCE_NOTE: Final = "dev.manifestd.source"
EMPTY: Final = b"{}"

Pointer = dict[str, Any]
"""A descriptor as it stands in a document."""


class Pushed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``push --format json`` prints.

    Attributes:
        snapshot: What was pushed.
        carrier: Digest of the carrier's manifest.
        repository: Where it is, without tag.
        tag: Its tag there; None: it can be found by its digest, or as a referrer of the subject.
        subject: The artifact that it is attached to.
        signatures: Digests of the manifests that attach its signatures.
        referrers: How registries list what is attached: by the ``api``, or by a ``tag`` that
            clients maintain; None when nothing was attached.
    """

    schema: Literal["manifestd.push/v1"] = "manifestd.push/v1"
    snapshot: str
    carrier: str
    repository: str
    tag: str | None = None
    subject: str | None = None
    signatures: list[str] = []
    referrers: Literal["api", "tag"] | None = None


def pointer(data: bytes, media_type: str, **more: Any) -> Pointer:
    """A descriptor of bytes."""
    digest = of_bytes(data)
    return {"digest": digest, "mediaType": media_type, "size": len(data), **more}


def carrier_document(
    digest: str, record: Snapshot, layers: list[Pointer], subject: Pointer | None
) -> bytes:
    """The carrier's manifest, in canonical bytes."""
    notes = {
        SNAPSHOT_NOTE: digest,
        SOURCE_NOTE: record.source,
        "org.opencontainers.image.created": record.captured_at,
    }
    if record.manifest is not None:
        notes[MANIFEST_NOTE] = record.manifest
    return _manifest(CARRIER, layers, notes, subject)


def signature_document(bundle: bytes, record: Snapshot, subject: Pointer) -> bytes:
    """The manifest that attaches a signature to the carrier (BUNDLE_SPEC, "OCI")."""
    title = subject["digest"].replace(":", "-") + ".sigstore.json"
    layer = pointer(
        bundle, media_types.SIGSTORE_BUNDLE, annotations={media_types.OCI_TITLE: title}
    )  # fmt: skip
    notes = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": media_types.SNAPSHOT_PREDICATE,
        "org.opencontainers.image.created": record.captured_at,
    }
    return _manifest(media_types.SIGSTORE_BUNDLE, [layer], notes, subject)


def _manifest(
    artifact: str, layers: list[Pointer], notes: dict[str, str], subject: Pointer | None
) -> bytes:
    document: dict[str, Any] = {
        "annotations": notes,
        "artifactType": artifact,
        "config": pointer(EMPTY, media_types.OCI_EMPTY),
        "layers": layers,
        "mediaType": media_types.OCI_MANIFEST,
        "schemaVersion": 2,
    }
    if subject is not None:
        document["subject"] = subject
    return canonical.encode(document)
