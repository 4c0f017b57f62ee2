"""An OCI image layout (image-spec v1.1, image-layout.md) of the manifest and its signatures.

It is sparse: the model's own blobs are not in it, so tools that copy layouts
refuse it while tools that read manifests do not. The carrier that ``push``
writes has no such limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from manifestd import canonical
from manifestd.exports.base import Export, Exported
from manifestd.model import media_types
from manifestd.model.carrier import EMPTY, Pointer, pointer
from manifestd.model.digest import hex_of

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
        named = pointer(manifest, media_types.OCI_MANIFEST, artifactType=media_types.ARTIFACT)
        notes = {
            "dev.manifestd.sparse": "true",
            "dev.manifestd.source": snapshot.record.source,
            # Tools ask for a name where an index has several entries, signatures among them.
            "org.opencontainers.image.ref.name": _NAME,
        }
        entries: list[Pointer] = [{**named, "annotations": notes}]
        yield _blob(manifest)
        yield _blob(EMPTY)
        for bundle in snapshot.bundles:
            referrer = _referrer(bundle, named, snapshot.record.captured_at)
            entries.append(
                pointer(
                    referrer,
                    media_types.OCI_MANIFEST,
                    artifactType=media_types.SIGSTORE_BUNDLE,
                )
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


def _referrer(bundle: bytes, subject: Pointer, created: str) -> bytes:
    """The manifest that attaches a signature (cosign BUNDLE_SPEC)."""
    layer = pointer(bundle, media_types.SIGSTORE_BUNDLE)
    title = f"sha256-{hex_of(layer['digest'])}.sigstore.json"
    layer["annotations"] = {media_types.OCI_TITLE: title}
    return canonical.encode({
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": media_types.SNAPSHOT_PREDICATE,
            "org.opencontainers.image.created": created,
        },
        "artifactType": media_types.SIGSTORE_BUNDLE,
        "config": pointer(EMPTY, media_types.OCI_EMPTY),
        "layers": [layer],
        "mediaType": media_types.OCI_MANIFEST,
        "schemaVersion": 2,
        "subject": {key: subject[key] for key in ("digest", "mediaType", "size")},
    })  # fmt: skip


def _blob(data: bytes) -> tuple[str, bytes]:
    return f"blobs/sha256/{canonical.sha256_hex(data)}", data
