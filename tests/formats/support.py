"""Files in memory, read as a snapshot reads them: outline, one pass with digests, facts."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import blake3

from manifestd import canonical
from manifestd.formats import reader_for
from manifestd.formats.base import Explanation, Outline
from manifestd.model.entry import RegionDigest


class Content:
    """Random access that remembers what was read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + length]

    @property
    def bytes_read(self) -> int:
        return sum(min(length, max(0, self.size - at)) for at, length in self.reads)


def digest(data: bytes, algorithm: str) -> str:
    if algorithm == "blake3":
        return blake3.blake3(data).hexdigest()
    return canonical.sha256_hex(data)


def facts_of(
    path: str, data: bytes, *, streamed: bool = True, algorithm: str = "blake3"
) -> dict[str, Any] | None:
    """What a snapshot keeps of a file; the document is proved canonical and bounded on the way."""
    reader = reader_for(path, len(data))
    assert reader is not None, path
    outline = Outline() if reader.needs_body else reader.outline(path, Content(data))
    position = 0
    regions = []
    for region in outline.regions:
        assert position <= region.begin < region.end <= len(data), region
        position = region.end
        value = digest(data[region.begin : region.end], algorithm)
        regions.append(
            RegionDigest(
                name=region.name,
                begin=region.begin,
                end=region.end,
                algorithm=algorithm,
                digest=value,
            )
        )
    body = data if reader.needs_body else None
    facts = reader.facts(path, outline, regions if streamed else None, body)
    if facts is not None:
        encoded = canonical.encode(facts)
        assert len(encoded) <= 8 * 1024 * 1024
        assert facts["format"] == reader.version
        facts = canonical.decode(encoded, dict[str, Any])
    return facts


def explain(path: str, left: bytes, right: bytes, **options: Any) -> Explanation | None:
    """Two files explained against each other, as ``diff`` does it from the store."""
    reader = reader_for(path, max(len(left), len(right)))
    assert reader is not None, path
    facts = facts_of(path, left, **options), facts_of(path, right, **options)
    bodies = (left, right) if reader.needs_body else (None, None)
    explanation = reader.explain(path, *facts, *bodies)
    if explanation is not None:
        canonical.encode(explanation)  # what a report prints must be JSON
        assert len(explanation.changes) <= 200
    return explanation


def told(path: str, left: bytes | str, right: bytes | str, **options: Any) -> Explanation:
    """:func:`explain` where there is something to say; text is encoded."""
    a = left.encode() if isinstance(left, str) else left
    b = right.encode() if isinstance(right, str) else right
    explanation = explain(path, a, b, **options)
    assert explanation is not None
    return explanation


def safetensors(
    tensors: Mapping[str, tuple[str, list[int], bytes]],
    metadata: Mapping[str, str] | None = None,
    *,
    order: list[str] | None = None,
    padding: int = 0,
    header: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A safetensors file; ``order`` is the physical order, ``header`` replaces the real one."""
    places: dict[str, list[int]] = {}
    data = b""
    for name in order or tensors:
        body = tensors[name][2]
        places[name] = [len(data), len(data) + len(body)]
        data += body
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    for name, (dtype, shape, _) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": places[name]}
    text = json.dumps(entries).encode() + b" " * padding if header is None else header
    return struct.pack("<Q", len(text)) + text + data + tail


def torch_zip(
    records: Mapping[str, bytes],
    *,
    root: str = "archive",
    aligned: bool = True,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """An archive as torch writes it: stored, data at multiples of 64 through an FB extra field."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in records.items():
            info = zipfile.ZipInfo(f"{root}/{name}", (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            if aligned:
                start = target.tell() + 30 + len(info.filename.encode()) + 4
                pad = -start % 64
                info.extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
            archive.writestr(info, data)
            info.extra = b""  # torch has the field in the local header only
    return target.getvalue()
