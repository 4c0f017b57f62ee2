"""OCI and docker manifests of others, and what each layer of one is.

The reading rule: a layer is a ``file`` (its digest is the file's), an ``archive``
(its files are known only after opening it) or ``opaque``. Known families: ModelPack
(``org.cncf.model``, earlier ``org.cnai.model``), KitOps ModelKits, plain ORAS
artifacts with titles, container images.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final, Literal

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, MismatchError, UnreadableError
from manifestd.model import media_types
from manifestd.model.digest import of_bytes

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED: Final = (
    media_types.OCI_MANIFEST, media_types.OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST,
)  # fmt: skip
MAX_LAYERS: Final = 50_000

Kind = Literal["file", "archive", "opaque"]
Packing = Literal["", "gzip", "zstd"]
Family = Literal["modelpack", "kitops", "image", "artifact"]

_DIGEST = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$(?!\n)"
_MODELPACK: Final = re.compile(
    r"application/vnd\.(?:cncf|cnai)\.model\.[a-z0-9.-]+?\.v1\.(raw|tar)(?:\+(gzip|zstd))?\Z"
)
_KITOPS: Final = re.compile(
    r"application/vnd\.kitops\.modelkit\.([a-z0-9-]+)\.v1\.(raw|tar)(?:\+(gzip|zstd))?\Z"
)
_TAR: Final = re.compile(r".*[./]tar(?:[+.](gzip|zstd))?\Z")
_MODELPACK_CONFIGS: Final = (
    "application/vnd.cncf.model.config.", "application/vnd.cnai.model.config.",
)  # fmt: skip
_KITOPS_CONFIG: Final = "application/vnd.kitops.modelkit.config."
_IMAGE_CONFIGS: Final = frozenset({
    "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json",
})  # fmt: skip
_ORAS_FILE: Final = "application/vnd.oci.image.layer.v1.tar"
"""ORAS's type for a plain file that nobody gave another: the title says what it is."""
_UNPACK: Final = "io.deis.oras.content.unpack"
_PATHS: Final = ("org.cncf.model.filepath", "org.cnai.model.filepath", media_types.OCI_TITLE)


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pointer to a blob or manifest; the size is the writer's word, which registries do not check."""

    media_type: str = ""
    digest: Annotated[str, msgspec.Meta(pattern=_DIGEST)]
    size: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    platform: dict[str, Any] | None = None

    def note(self, name: str) -> str:
        """An annotation; empty when there is none."""
        return (self.annotations or {}).get(name, "")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An image manifest or an index; one of ``layers`` and ``manifests`` is there."""

    schema_version: Literal[2]
    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: Annotated[list[Descriptor], msgspec.Meta(max_length=MAX_LAYERS)] | None = None
    manifests: Annotated[list[Descriptor], msgspec.Meta(max_length=MAX_LAYERS)] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer is.

    Attributes:
        kind: See the module.
        descriptor: As in the manifest.
        path: The file's path; of an archive, a hint for the path of its only file.
        packing: How an archive is compressed.
    """

    kind: Kind
    descriptor: Descriptor
    path: str = ""
    packing: Packing = ""


def checked_digest(data: bytes, name: str, told: str | None, host: str) -> str:
    """The sha256 digest of a manifest's bytes, once they are what was asked for.

    Args:
        data: The bytes.
        name: What was asked for: a digest under either algorithm, or a tag.
        told: What the registry calls them, if it says.
        host: The registry, for messages.

    Raises:
        MismatchError: They have another digest than the one asked for, or told.
    """
    for wanted in (name, told or ""):
        algorithm, separator, value = wanted.partition(":")
        if not separator:
            continue  # a tag, whose name no digest has
        known = algorithm in {"sha256", "sha512"}
        if not known or hashlib.new(algorithm, data).hexdigest() != value:
            raise MismatchError(
                f"{host} gives {of_bytes(data)} for the manifest {wanted[:140]}",
                hint="ask who runs that registry, or a proxy in between",
            )
    return of_bytes(data)


def parse_manifest(data: bytes, content_type: str) -> Manifest:
    """Understand a manifest or an index.

    Raises:
        MalformedError: It is none, or both at once (then readers would disagree).
        UnreadableError: Docker's schema 1, which names no sizes.
    """
    document = canonical.decode_foreign(data, name="the manifest", max_size=len(data))
    if isinstance(document, dict) and document.get("schemaVersion") == 1:
        raise UnreadableError(
            "the manifest has docker's old schema 1", hint="push it again with a current tool"
        )
    try:
        found = msgspec.convert(document, canonical.prepared(Manifest))
    except msgspec.ValidationError as error:
        raise MalformedError(f"the registry's manifest has a wrong shape: {error}") from error
    if (found.layers is None) == (found.manifests is None):
        raise MalformedError("the registry's document is not one of manifest and index")
    stated = found.media_type or content_type.partition(";")[0].strip()
    lists = stated in {media_types.OCI_INDEX, DOCKER_LIST}
    if stated in ACCEPTED and lists != (found.manifests is not None):
        raise MalformedError(f"the registry's document is not what it says to be: {stated}")
    return found


def family_of(manifest: Manifest) -> Family:
    """Which conventions a manifest follows: its config's type decides, as it does for peers."""
    config = manifest.config.media_type if manifest.config else ""
    artifact = manifest.artifact_type or ""
    if config.startswith(_MODELPACK_CONFIGS) or ".model.manifest.v1" in artifact:
        return "modelpack"
    if config.startswith(_KITOPS_CONFIG):
        return "kitops"
    return "image" if config in _IMAGE_CONFIGS else "artifact"


def layers_of(manifest: Manifest) -> list[Layer]:
    """Every layer with what it is, in the manifest's order."""
    family = family_of(manifest)
    return [_layer(family, item) for item in manifest.layers or ()]


def _layer(family: Family, item: Descriptor) -> Layer:
    path = next((found for name in _PATHS if (found := item.note(name))), "")
    known = _MODELPACK.match(item.media_type)
    if known is not None:
        return _of(item, path, raw=known[1] == "raw", packing=known[2])
    kit = _KITOPS.match(item.media_type)
    if kit is not None:
        return _of(item, path, raw=kit[2] == "raw", packing=kit[3])
    if item.media_type == media_types.OCI_EMPTY and not path:
        return Layer(kind="opaque", descriptor=item)
    tar = _TAR.match(item.media_type)
    if tar is None:
        return Layer(kind="file" if path else "opaque", descriptor=item, path=path)
    if family == "artifact" and _is_titled_file(item):
        return Layer(kind="file", descriptor=item, path=path)
    return _of(item, path if family != "image" else "", raw=False, packing=tar[1])


def _of(item: Descriptor, path: str, *, raw: bool, packing: str | None) -> Layer:
    if raw:
        return Layer(kind="file" if path else "opaque", descriptor=item, path=path)
    kinds: dict[str | None, Packing] = {None: "", "gzip": "gzip", "zstd": "zstd"}
    return Layer(kind="archive", descriptor=item, path=path, packing=kinds[packing])


def _is_titled_file(item: Descriptor) -> bool:
    """Whether ORAS pushed a file as it is: its default type says tar of anything.

    Directories it packs have an annotation (oras) or the gzip type (oras-py) to tell.
    """
    title = item.note(media_types.OCI_TITLE)
    if not title or item.note(_UNPACK) == "true":
        return False
    return item.media_type == _ORAS_FILE or title.lower().endswith((".tar.gz", ".tgz", ".tar"))
