"""The Xet side of the loopback Hub's store, as far as downloads go: token, plan, chunks.

With hf_xet installed the Hub's own library takes every file that has a Xet hash by this
way, and does not fall back to plain HTTP. Each file is one xorb of chunks that are not
compressed. Its name is made up like the file's Xet hash: clients check neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from manifestd.loopback.hub_repository import HubFile

ACCESS: Final = "loopback-xet"
"""The token of this side; the Hub's own is never sent here."""
XORB: Final = "xorbs"

_CHUNK: Final = 64 * 1024
_END_OF_TIME: Final = 4_102_444_800


def access_headers(endpoint: str) -> dict[str, str]:
    """What the Hub's token route answers."""
    return {
        "X-Xet-Cas-Url": endpoint,
        "X-Xet-Access-Token": ACCESS,
        "X-Xet-Token-Expiration": str(_END_OF_TIME),
    }


def reconstruction(file: HubFile, endpoint: str) -> dict[str, Any]:
    """Which chunks of which xorb a file is made of, and where they are fetched."""
    name = hashlib.sha256(f"xorb {file.xet}".encode()).hexdigest()
    chunks = {"start": 0, "end": -(-len(file.served) // _CHUNK)}
    fetch = {
        "range": chunks,
        "url": f"{endpoint}/{XORB}/{file.xet}",
        "url_range": {"start": 0, "end": len(xorb(file.served)) - 1},
    }
    return {
        "offset_into_first_range": 0,
        "terms": [{"hash": name, "unpacked_length": len(file.served), "range": chunks}],
        "fetch_info": {name: [fetch]},
    }


def xorb(data: bytes) -> bytes:
    """The chunks of ``data``, each behind its header: version, length, scheme (none), length."""
    return b"".join(_framed(data))


def _framed(data: bytes) -> Iterator[bytes]:
    for begin in range(0, len(data), _CHUNK):
        chunk = data[begin : begin + _CHUNK]
        length = len(chunk).to_bytes(3, "little")
        yield b"\0" + length + b"\0" + length + chunk
