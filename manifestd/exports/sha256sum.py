"""``sha256sum -c`` lists, and the in-toto dirHash that coreutils can recompute."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from manifestd.errors import UsageError
from manifestd.exports.base import Export, Exported
from manifestd.model.manifest import Item


class Sha256sum(Export):
    """The list that ``sha256sum --check`` reads (coreutils manual, "md5sum invocation")."""

    name = "sha256sum"

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """One line a file; names with a backslash or line end are escaped as coreutils does."""
        for item in snapshot.files():
            yield "", sum_line(item)


def sum_line(item: Item) -> bytes:
    r"""One line: hex, two spaces, name; a leading backslash says that the name is escaped."""
    if not {"\\", "\n", "\r"} & set(item.path):
        return f"{item.sha256}  {item.path}\n".encode()
    escaped = item.path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"\\{item.sha256}  {escaped}\n".encode()


def dir_hash(items: Iterable[Item]) -> str:
    """in-toto's ``dirHash`` (Go's Hash1 in hex): sha256 over the sorted ``sha256sum`` listing.

    ``find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum`` gives the same.

    Raises:
        UsageError: A name that ``sha256sum`` would escape has no dirHash.
    """
    hasher = hashlib.sha256()
    for item in items:
        if {"\\", "\n", "\r"} & set(item.path):
            raise UsageError(f"dirHash is not defined for the name {item.path!r}")
        hasher.update(sum_line(item))
    return hasher.hexdigest()
