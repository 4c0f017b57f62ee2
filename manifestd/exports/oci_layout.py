"""An OCI image layout (image-spec v1.1, image-layout.md) of the manifest and its signatures.

It is sparse: the model's own blobs are not in it, so tools that copy layouts
refuse it while tools that read manifests do not. The carrier that ``push``
writes has no such limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from manifestd import canonical
from manifestd.exports.base import Export, Exported
from manifestd.model import media_types
from manifestd.model.digest import hex_of

_EMPTY: Final = b"{}"
_NAME: Final = "snapshot"


class OciLayout(Export):
    """``oci-layout``, ``index.json`` and the blobs of documents, not of model files."""

    name = "oci-layout"
    several = True
    note = (
        "the layout is sparse: the model's own blobs are not in it, so tools that copy layouts "
        "refuse it; `manifestd push` needs no blobs"
    )

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """The layout; signatures refer to the manifest by ``subject``."""
        manifest = b"".join(snapshot.manifest())
        named = _descriptor(manifest, media_types.OCI_MANIFEST, media_types.ARTIFACT)
        notes = {
            "dev.manifestd.sparse": "true",
            "dev.manifestd.source": snapshot.record.source,
            # Tools ask for a name where an index has several entries, signatures among them.
            "org.opencontainers.image.ref.name": _NAME,
        }
        entries: list[dict[str, Any]] = [{**named, "annotations": notes}]
        yield _blob(manifest)
        yield _blob(_EMPTY)
        for bundle in snapshot.bundles:
            referrer = _referrer(bundle, named, snapshot.record.captured_at)
            entries.append(
                _descriptor(referrer, media_types.OCI_MANIFEST, media_types.SIGSTORE_BUNDLE)
            )
            yield _blob(bundle)
            yield _blob(referrer)
        index = {
            "manifests": entries,
            "mediaType": media_types.OCI_INDEX,
            "schemaVersion": 2,
        }
        yield "index.json", canonical.encode(index)
        yield "oci-layout", canonical.encode({"imageLayoutVersion": "1.0.0"})


def _referrer(bundle: bytes, subject: dict[str, Any], created: str) -> bytes:
    """The manifest that attaches a signature (cosign BUNDLE_SPEC)."""
    layer = _descriptor(bundle, media_types.SIGSTORE_BUNDLE)
    title = f"sha256-{hex_of(layer['digest'])}.sigstore.json"
    layer["annotations"] = {media_types.OCI_TITLE: title}
    return canonical.encode({
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": media_types.SNAPSHOT_PREDICATE,
            "org.opencontainers.image.created": created,
        },
        "artifactType": media_types.SIGSTORE_BUNDLE,
        "config": _descriptor(_EMPTY, media_types.OCI_EMPTY),
        "layers": [layer],
        "mediaType": media_types.OCI_MANIFEST,
        "schemaVersion": 2,
        "subject": {key: subject[key] for key in ("digest", "mediaType", "size")},
    })  # fmt: skip


def _descriptor(data: bytes, media_type: str, artifact: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "digest": "sha256:" + canonical.sha256_hex(data),
        "mediaType": media_type,
        "size": len(data),
    }
    if artifact is not None:
        found["artifactType"] = artifact
    return found


def _blob(data: bytes) -> tuple[str, bytes]:
    return "blobs/sha256/" + hex_of("sha256:" + canonical.sha256_hex(data)), data
