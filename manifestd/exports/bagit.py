"""BagIt 1.0 (RFC 8493) tag files for a payload that lies elsewhere or is copied in by others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from manifestd.exports.base import Export, Exported

_DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


class Bagit(Export):
    """``bagit.txt``, ``bag-info.txt``, ``manifest-sha256.txt`` and ``tagmanifest-sha256.txt``."""

    name = "bagit"
    several = True
    note = "the payload belongs below data/; without it the bag is not complete"

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """The tag files; the payload belongs below ``data/``."""
        record = snapshot.record
        listing = b"".join(
            f"{item.sha256} data/{_encoded(item.path)}\n".encode() for item in snapshot.files()
        )
        info = (
            f"Bagging-Date: {record.captured_at[:10]}\n"
            f"Payload-Oxum: {record.bytes}.{record.files}\n"
            f"External-Identifier: {_one_line(record.source)}\n"
            f"Internal-Sender-Identifier: {record.manifest}\n"
        ).encode()
        files = {
            "bag-info.txt": info,
            "bagit.txt": _DECLARATION,
            "manifest-sha256.txt": listing,
        }
        yield from files.items()
        tags = "".join(
            f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in files.items()
        )
        yield "tagmanifest-sha256.txt", tags.encode()


def _encoded(path: str) -> str:
    """CR, LF and the percent sign are percent-encoded (RFC 8493, section 2.1.3)."""
    return path.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _one_line(text: str) -> str:
    return " ".join(text.split())
