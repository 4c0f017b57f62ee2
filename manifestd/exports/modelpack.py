"""A CNCF ModelPack manifest and config (model-spec 0.0.7) from digests alone.

Raw layers: the layer's digest is the file's. Once the blobs are in a registry,
modctl, kit and Harbor read what this writes. Nothing in it depends on time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from manifestd import canonical
from manifestd.errors import UsageError
from manifestd.exports.base import Export, Exported
from manifestd.model import media_types
from manifestd.model.digest import of_bytes
from manifestd.model.role import role_of

ARTIFACT: Final = "application/vnd.cncf.model.manifest.v1+json"
CONFIG: Final = "application/vnd.cncf.model.config.v1+json"
FILEPATH: Final = "org.cncf.model.filepath"
MAX_MANIFEST: Final = 4 * 1024 * 1024
"""Bytes that registries accept (distribution-spec: "at least 4 megabytes")."""

_KINDS: Final = {
    "weights": "weight",
    "config": "weight.config",
    "tokenizer": "weight.config",
    "template": "weight.config",
    "code": "code",
    "data": "dataset",
}


class ModelPack(Export):
    """``config.json`` and ``manifest.json`` of a ModelPack artifact with raw layers."""

    name = "modelpack"
    several = True
    note = "the layers' blobs are the model's files; a registry takes the manifest once it has them"

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """The config, then the manifest that names it."""
        layers = [_layer(item.path, item.size, item.sha256) for item in snapshot.files()]
        config = canonical.encode({
            "config": {},
            "descriptor": _descriptor(snapshot),
            "modelfs": {"diffIds": [layer["digest"] for layer in layers], "type": "layers"},
        })  # fmt: skip
        manifest = canonical.encode({
            "artifactType": ARTIFACT,
            "config": {
                "digest": of_bytes(config),
                "mediaType": CONFIG,
                "size": len(config),
            },
            "layers": layers,
            "mediaType": media_types.OCI_MANIFEST,
            "schemaVersion": 2,
        })  # fmt: skip
        if len(manifest) > MAX_MANIFEST:
            raise UsageError(
                f"the ModelPack manifest would have {len(manifest)} bytes, registries take 4 MiB",
                hint="push the small carrier instead: `manifestd push REF oci://…`",
            )
        yield "config.json", config
        yield "manifest.json", manifest


def _layer(path: str, size: int, sha256: str) -> dict[str, Any]:
    kind = _KINDS.get(role_of(path), "doc")
    return {
        "annotations": {FILEPATH: path},
        "digest": f"sha256:{sha256}",
        "mediaType": f"application/vnd.cncf.model.{kind}.v1.raw",
        "size": size,
    }


def _descriptor(snapshot: Exported) -> dict[str, Any]:
    record = snapshot.record
    found: dict[str, Any] = {"name": record.name}
    if record.revision is not None:
        found["revision"] = record.revision
    if record.source.startswith("hf://"):
        found["sourceURL"] = "https://huggingface.co/" + record.source.removeprefix("hf://")
    licence = record.facts.get("license")
    if isinstance(licence, str):
        found["licenses"] = [licence]
    elif isinstance(licence, list):
        found["licenses"] = licence
    return found
