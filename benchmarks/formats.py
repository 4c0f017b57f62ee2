"""Time and memory of the format readers on large and on hostile files, beside plain parsing.

Run: ``python benchmarks/formats.py``. Ratios count, not seconds: each line names
what stands beside it in the same run.
"""

from __future__ import annotations

import json
import resource
import struct
import time
from collections.abc import Callable
from typing import Any

from manifestd.formats import reader_for
from manifestd.formats.base import Outline
from manifestd.model.entry import RegionDigest


class Content:
    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def best(work: Callable[[], Any], runs: int = 3) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def facts(path: str, data: bytes) -> Any:
    reader = reader_for(path, len(data))
    assert reader is not None
    outline = Outline() if reader.needs_body else reader.outline(path, Content(data))
    found = [
        RegionDigest(name=r.name, begin=r.begin, end=r.end, algorithm="blake3", digest="0" * 64)
        for r in outline.regions
    ]
    return reader.facts(path, outline, found, data if reader.needs_body else None)


def explain(path: str, left: bytes, right: bytes) -> Any:
    reader = reader_for(path, len(left))
    assert reader is not None
    if reader.needs_body:
        return reader.explain(path, None, None, left, right)
    return reader.explain(path, facts(path, left), facts(path, right), None, None)


def tokenizer(shift: int) -> bytes:
    vocab = {f"token{i}": i + (shift if i > 100_000 else 0) for i in range(150_000)}
    merges = [f"to{i} ken{i}" for i in range(150_000)]
    model = {"type": "BPE", "vocab": vocab, "merges": merges}
    return json.dumps({"added_tokens": [], "model": model}, indent=2).encode()


def safetensors(count: int) -> bytes:
    entries = {
        f"model.layers.{i}.mlp.down_proj.weight": {
            "dtype": "U8", "shape": [4], "data_offsets": [4 * i, 4 * i + 4],
        }
        for i in range(count)
    }  # fmt: skip
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * count)


def row(name: str, seconds: float, base: float | None = None) -> None:
    ratio = f"{seconds / base:8.1f}" if base else "        "
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name:58s} {seconds:8.3f} s {ratio} {memory:6d} MiB peak so far")


def main() -> None:
    print(f"{'':58s} {'time':>10s} {'x parse':>8s}")
    left, right = tokenizer(0), tokenizer(1)
    parse = best(lambda: (json.loads(left), json.loads(right)))
    row("json.loads of two tokenizers, 150,000 tokens and merges", parse)
    row("explain them", best(lambda: explain("tokenizer.json", left, right)), parse)
    for count in (1_000, 100_000):
        data = safetensors(count)
        parse = best(lambda data=data: json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))  # type: ignore[misc]
        row(f"json.loads of a header with {count} tensors", parse)
        row("facts of it", best(lambda data=data: facts("m.safetensors", data)), parse)  # type: ignore[misc]
    hostile = {
        "10 million nested brackets": ("a.index.json", b"[" * 10_000_000),
        "3 million empty arrays": ("a.index.json", b"[" + b"[]," * 3_000_000 + b"0]"),
        "a number of 10 million digits": ("a.index.json", b"1" * 10_000_000),
        "a header that claims 100 MB": ("a.safetensors", struct.pack("<Q", 100_000_000) + bytes(100_000_000)),
        "a 20 MB header of commas": ("a.safetensors", struct.pack("<Q", 20_000_000) + b"[0" + b",0" * 9_999_999),
        "4 million empty strings in GGUF": (
            "a.gguf",
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 8, 4_000_000) + bytes(32_000_000),
        ),
        "a pickle of a million opcodes": ("a.pkl", b"\x80\x02" + b"N0" * 1_000_000 + b"N."),
    }  # fmt: skip
    for name, (path, data) in hostile.items():
        row(name, best(lambda path=path, data=data: facts(path, data), 1))  # type: ignore[misc]


if __name__ == "__main__":
    main()
