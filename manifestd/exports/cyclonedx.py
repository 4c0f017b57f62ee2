"""A machine-learning bill of materials (CycloneDX 1.6, extra ``cyclonedx``)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from manifestd._version import __version__
from manifestd.errors import UsageError
from manifestd.exports.base import Export, Exported
from manifestd.exports.sha256sum import dir_hash


class CycloneDx(Export):
    """One machine-learning-model component, with a file component for every file."""

    name = "cyclonedx"

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """The bill as JSON; the same snapshot gives the same bytes."""
        bom = Bom(serial_number=uuid.UUID(snapshot.digest[7:39]))
        bom.metadata.timestamp = datetime.fromisoformat(snapshot.record.captured_at)
        bom.metadata.tools.components.add(
            Component(name="manifestd", version=__version__, type=ComponentType.APPLICATION)
        )
        model = _model(snapshot)
        bom.metadata.component = model
        for item in snapshot.files():
            bom.components.add(
                Component(
                    name=item.path,
                    type=ComponentType.FILE,
                    bom_ref=f"file:{item.path}",
                    hashes=[_sha256(item.sha256)],
                    properties=[Property(name="manifestd:size", value=str(item.size))],
                )
            )
        bom.register_dependency(model, bom.components)
        text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
        yield "", text.encode() + b"\n"


def _model(snapshot: Exported) -> Component:
    record = snapshot.record
    properties = {
        "manifestd:snapshot": snapshot.digest,
        "manifestd:manifest": record.manifest or "",
        "manifestd:source": record.source,
        **_dir_hash(snapshot),
    }
    return Component(
        name=record.name,
        version=record.revision,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        purl=_purl(record.source, record.revision),
        licenses=_licences(record.facts.get("license")),
        properties=[Property(name=name, value=value) for name, value in properties.items()],
    )


def _dir_hash(snapshot: Exported) -> dict[str, str]:
    """in-toto's dirHash, where it is defined (names that sha256sum would escape have none)."""
    try:
        return {"manifestd:dirHash": dir_hash(snapshot.files())}
    except UsageError:
        return {}


def _purl(source: str, revision: str | None) -> PackageURL | None:
    """``pkg:huggingface/<namespace>/<name>@<commit>`` (purl-spec, type huggingface)."""
    if not source.startswith("hf://") or source.startswith(("hf://datasets/", "hf://spaces/")):
        return None
    namespace, _, name = source.removeprefix("hf://").rpartition("/")
    return PackageURL("huggingface", namespace or None, name, (revision or "").lower() or None)


def _licences(licence: Any) -> list[DisjunctiveLicense]:
    names = [licence] if isinstance(licence, str) else licence if isinstance(licence, list) else []
    return [DisjunctiveLicense(name=name) for name in names]


def _sha256(value: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=value)
