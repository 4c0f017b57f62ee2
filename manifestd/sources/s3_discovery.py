"""Folders below an S3 prefix that look like model repositories, from one flat listing.

A flat listing needs a request for each 1,000 objects; going from folder to folder would need one
for each folder, of which model repositories have many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from manifestd.errors import EmptySourceError
from manifestd.model.discovery import FoundModel
from manifestd.model.reference import S3Reference
from manifestd.sources.base import Shared, SourceSettings
from manifestd.sources.s3_client import Connection
from manifestd.sources.s3_errors import shown
from manifestd.sources.s3_listing import Listed, list_objects
from manifestd.sources.s3_options import options_of

_IDENTITY: Final = frozenset({
    "config.json", "model_index.json", "adapter_config.json", "params.json", "model.safetensors",
    "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
})  # fmt: skip
"""Files that stand at the root of a repository and are called so."""

_WEIGHTS: Final[dict[str, str]] = {
    ".safetensors": "safetensors", ".gguf": "gguf", ".ggml": "ggml", ".onnx": "onnx",
    ".bin": "pickle", ".pt": "pickle", ".pth": "pickle", ".ckpt": "pickle", ".h5": "hdf5",
    ".keras": "keras", ".tflite": "tflite", ".msgpack": "flax", ".nemo": "nemo",
    ".llamafile": "llamafile", ".mlmodel": "coreml", ".pb": "tensorflow",
}  # fmt: skip
_TOKENIZERS: Final = frozenset({"tokenizer.json", "tokenizer_config.json", "tokenizer.model"})


class _Folder:
    """What stands directly in one folder, and later below it."""

    __slots__ = ("bytes", "files", "formats", "identity", "modified", "tokenizer", "whole")

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.formats: set[str] = set()
        self.identity = False
        self.tokenizer = False
        self.whole = False
        self.modified = ""

    def take(self, item: Listed, name: str) -> None:
        """Note an object directly in the folder."""
        self.files += 1
        self.bytes += item.size
        self.modified = max(self.modified, item.modified)
        self.identity |= name in _IDENTITY
        self.tokenizer |= name in _TOKENIZERS
        self.whole |= name == "model_index.json"
        dot = name.rfind(".")
        kind = _WEIGHTS.get(name[dot:].lower()) if dot > 0 else None
        if kind is not None:
            self.formats.add(kind)

    def swallow(self, below: _Folder) -> None:
        """Note a folder further down as part of this one."""
        self.files += below.files
        self.bytes += below.bytes
        self.formats |= below.formats
        self.modified = max(self.modified, below.modified)


def find_folders(
    reference: S3Reference, settings: SourceSettings, shared: Shared | None = None
) -> tuple[list[FoundModel], int]:
    """Folders below a prefix that look like model repositories, in order of their keys.

    Args:
        reference: Bucket and prefix; the prefix is a folder.
        settings: Timeouts, retry budget and S3's own options.
        shared: Where to take the connection from.

    Returns:
        The folders, and how many objects stand in none of them.

    Raises:
        EmptySourceError: There is no object below the prefix.
        SourceNotFoundError, AccessDeniedError, UnreachableError, RateLimitedError: As S3 says.
    """
    connection = Connection(reference.bucket, options_of(settings), settings, shared)
    try:
        prefix = reference.prefix
        prefix = prefix if not prefix or prefix.endswith("/") else prefix + "/"
        folders = gather(list_objects(connection, prefix), prefix)
    finally:
        connection.close()
    if not folders:
        raise EmptySourceError(
            f"{shown(reference.bucket, prefix)} holds no object",
            hint="check the prefix: aws s3 ls shows what is there",
        )
    roots = list(roots_of(folders))
    found = [
        FoundModel(
            name=_name(reference, prefix, path),
            reference=f"s3://{reference.bucket}/{prefix}{path}",
            modified=folder.modified or None,
            bytes=folder.bytes,
            files=folder.files,
            formats=sorted(folder.formats),
        )
        for path, folder in roots
    ]
    total = sum(folder.files for folder in folders.values())
    return found, total - sum(folder.files for _, folder in roots)


def gather(items: Iterable[Listed], prefix: str) -> dict[str, _Folder]:
    """What stands in each folder; keys end in a slash and have no prefix, the root is empty."""
    folders: dict[str, _Folder] = {}
    for item in items:
        path, slash, name = item.key.removeprefix(prefix).rpartition("/")
        if name or item.size:
            folders.setdefault(path + slash, _Folder()).take(item, name)
    return folders


def roots_of(folders: dict[str, _Folder]) -> Iterator[tuple[str, _Folder]]:
    """The folders that look like roots of model repositories, with all that is below them.

    A folder is one by its files: weights, or a configuration with weights or a tokenizer. What
    is below a root belongs to it. A folder whose subfolders are repositories of their own is none,
    whatever lies about in it.
    """
    weights_below: set[str] = set()
    repositories_below: set[str] = set()
    for path, folder in folders.items():
        repository = folder.identity and bool(folder.formats)
        for above in _ancestors(path):
            if folder.formats:
                weights_below.add(above)
            if repository or folder.whole:
                repositories_below.add(above)

    def is_root(path: str, folder: _Folder) -> bool:
        if folder.whole or (folder.identity and folder.formats):
            return True
        if path in repositories_below:
            return False
        if folder.identity:
            return folder.tokenizer or path in weights_below
        return bool(folder.formats)

    root = ""
    current: _Folder | None = None
    for path in sorted(folders):
        if current is not None and path.startswith(root):
            current.swallow(folders[path])
        elif is_root(path, folders[path]):
            if current is not None:
                yield root, current
            root, current = path, _Folder()
            current.swallow(folders[path])
    if current is not None:
        yield root, current


def _ancestors(path: str) -> Iterator[str]:
    """Every folder above one, the nearest first.

    Example:
        >>> list(_ancestors("a/b/"))
        ['a/', '']
    """
    parts = path.split("/")[:-1]
    for count in range(len(parts) - 1, -1, -1):
        yield "".join(f"{part}/" for part in parts[:count])


def _name(reference: S3Reference, prefix: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if parts:
        return "/".join(parts[-2:])
    return prefix.rstrip("/").rpartition("/")[2] or reference.bucket
