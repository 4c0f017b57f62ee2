"""The manifest: a valid OCI image manifest that lists files (path, size, sha256) and nothing else.

Its digest is the content identity. The bytes are made by streaming, so a
million files need no million objects; ``docs/format/v1.md`` section 3 has the rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import msgspec

from manifestd import canonical
from manifestd.errors import EmptySourceError, MalformedError
from manifestd.model import media_types
from manifestd.model.digest import Digest, hex_of

_HEAD: Final = (
    b'{"artifactType":"' + media_types.ARTIFACT.encode() + b'","config":{"digest":"'
    + media_types.OCI_EMPTY_DIGEST.encode() + b'","mediaType":"' + media_types.OCI_EMPTY.encode()
    + b'","size":2},"layers":['
)  # fmt: skip
_TAIL: Final = b'],"mediaType":"' + media_types.OCI_MANIFEST.encode() + b'","schemaVersion":2}'
_LAYER: Final = (
    b'{"annotations":{"' + media_types.OCI_TITLE.encode() + b'":%b},"digest":"sha256:%b","mediaType":"'
    + media_types.OCTETS.encode() + b'","size":%d}'
)  # fmt: skip

_BATCH: Final = 2000
_text: Final = msgspec.json.Encoder().encode

Size = Annotated[int, msgspec.Meta(ge=0, le=canonical.MAX_INTEGER)]


class Item(msgspec.Struct, frozen=True):
    """One file of a manifest: path, size in bytes, sha256 in hex."""

    path: str
    size: int
    sha256: str


class Descriptor(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """An OCI descriptor (image-spec v1.1, descriptor.md)."""

    media_type: str
    # ``$`` also matches before a last newline, hence the look-ahead.
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
    size: Size
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Manifest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """The parsed view of a manifest. Never encode it to get a digest: the bytes are the identity."""

    schema_version: Annotated[int, msgspec.Meta(ge=2, le=2)]
    media_type: str
    artifact_type: str
    config: Descriptor
    layers: list[Descriptor]


def encode_manifest(items: Iterable[Item]) -> Iterator[bytes]:
    """Yield the canonical bytes of the manifest of ``items``, which must come in path order.

    Order is that of the UTF-8 bytes of the path, each path once (format v1, step 3.2).

    Raises:
        MalformedError: Out of order, or a path twice.
        EmptySourceError: No items: nothing can be said about nothing.
    """
    encoder = _Encoder()
    for item in items:
        if piece := encoder.add(item.path, item.size, item.sha256):
            yield piece
    yield encoder.end()


class _Encoder:
    """The bytes of a manifest, some thousand files at a time."""

    __slots__ = ("_before", "_layers", "_pending")

    def __init__(self) -> None:
        self._before = b""
        self._layers: list[bytes] = []
        self._pending = _HEAD

    def add(self, path: str, size: int, sha256: str) -> bytes:
        """Take the next file; the bytes of many, now and then, else none."""
        key = path.encode()
        if key <= self._before:
            raise MalformedError(f"files are not in path order at {path!r}")
        self._before = key
        self._layers.append(_LAYER % (_text(path), sha256.encode(), size))
        return self._joined() if len(self._layers) == _BATCH else b""

    def end(self) -> bytes:
        """The bytes that are left, with the end."""
        if not self._before:
            raise EmptySourceError("a manifest needs at least one file")
        return (self._joined() if self._layers else b"") + _TAIL

    def _joined(self) -> bytes:
        data = self._pending + b",".join(self._layers)
        self._pending = b","
        self._layers.clear()
        return data


class ManifestHasher:
    """The content identity of files that come one by one, in path order."""

    def __init__(self) -> None:
        self._encoder = _Encoder()
        self._hasher = hashlib.sha256()

    def add(self, path: str, size: int, sha256: str) -> None:
        """Add the next file.

        Raises:
            MalformedError: Out of order, or a path twice.
        """
        if piece := self._encoder.add(path, size, sha256):
            self._hasher.update(piece)

    def digest(self) -> Digest:
        """The digest of the manifest of all of them; nothing can be added afterwards.

        Raises:
            EmptySourceError: There were none.
        """
        self._hasher.update(self._encoder.end())
        return Digest("sha256:" + self._hasher.hexdigest())


def manifest_digest(items: Iterable[Item]) -> Digest:
    """The content identity of a tree: sha256 of its manifest's bytes.

    Example:
        >>> manifest_digest([Item("a", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")])
        'sha256:41b6fdd0404beac325aa50961cad174520fd3a7215ae67542b256f07dba39d51'
    """
    hasher = ManifestHasher()
    for item in items:
        hasher.add(item.path, item.size, item.sha256)
    return hasher.digest()


def decode_manifest(data: bytes) -> list[Item]:
    """Parse a manifest's bytes strictly and return its files in path order.

    Raises:
        MalformedError: Not a manifestd manifest, or its layers are out of order.
        NotCanonicalError: Its bytes are not canonical.
    """
    manifest = canonical.decode(data, Manifest, name="manifest", max_size=1 << 30)
    if (
        manifest.media_type != media_types.OCI_MANIFEST
        or manifest.artifact_type != media_types.ARTIFACT
        or manifest.config.digest != media_types.OCI_EMPTY_DIGEST
        or manifest.config.media_type != media_types.OCI_EMPTY
        or manifest.config.size != 2
        or manifest.config.annotations is not msgspec.UNSET
    ):
        raise MalformedError("not a manifestd manifest: media type, artifact type or config differ")
    items: list[Item] = []
    before = b""
    for layer in manifest.layers:
        notes = {} if layer.annotations is msgspec.UNSET else layer.annotations
        path = notes.get(media_types.OCI_TITLE)
        if path is None or len(notes) != 1 or layer.media_type != media_types.OCTETS:
            raise MalformedError("a layer of the manifest is not a plain file entry")
        key = path.encode()
        if key <= before:
            raise MalformedError(f"layers of the manifest are not in path order at {path!r}")
        before = key
        items.append(Item(path, layer.size, hex_of(layer.digest)))
    if not items:
        raise MalformedError("the manifest lists no file")
    return items
