"""What tensor digests cost beside sha256 alone: the read loop on warm files, CPU and wall, in one run.

    python benchmarks/tensors.py [--mib 512] [--files 4] [--rounds 5]

Four passes over the same safetensors files, in turns: sha256 alone; with the digests of
64 MiB pieces that every large file gets; with one digest a tensor; with both. Once over one
file (a second core idles), once over all files two at a time (no core idles). Ratios are
medians over rounds; on a machine that does other work the CPU seconds are the ones to quote.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from manifestd.formats import reader_for
from manifestd.loopback.models import safetensors
from manifestd.model.entry import Entry
from manifestd.model.reference import DirectoryReference, parse_reference
from manifestd.model.region import Region
from manifestd.reading.measure import RetryBudget, measure
from manifestd.reading.wants import Wants
from manifestd.sources.base import Resolved, SourceSettings
from manifestd.sources.directory import DirectorySource

MIB = 1024 * 1024
TENSORS = 32


def write(folder: Path, files: int, mib: int) -> None:
    block = os.urandom(mib * MIB // TENSORS)
    for number in range(files):
        tensors = {
            f"h.{layer}.weight": ("U8", [len(block)], block) for layer in range(TENSORS)
        }  # fmt: skip
        (folder / f"model-{number}.safetensors").write_bytes(safetensors(tensors))


class Passes:
    """The same files, read for more and more."""

    def __init__(self, folder: Path) -> None:
        reference = parse_reference(str(folder))
        assert isinstance(reference, DirectoryReference)
        self.source = DirectorySource(reference, SourceSettings(jobs=2))
        self.resolved: Resolved = self.source.resolve()
        self.entries = [e for e in self.source.list(self.resolved) if isinstance(e, Entry)]
        self.regions = {entry.path: self.outline(entry) for entry in self.entries}

    def outline(self, entry: Entry) -> tuple[Region, ...]:
        reader = reader_for(entry.path, entry.size)
        assert reader is not None
        return tuple(reader.outline(entry.path, self.source.peek(self.resolved, entry)).regions)

    def wants(self, entry: Entry, kind: str) -> Wants:
        if kind == "sha256":
            return Wants(chunks=())
        if kind == "with pieces":
            return Wants()
        regions = self.regions[entry.path]
        return Wants(regions=regions) if kind == "with both" else Wants(regions=regions, chunks=())

    def read(self, entry: Entry, kind: str) -> None:
        found = measure(
            lambda offset: self.source.open(self.resolved, entry, offset),
            entry.path,
            entry.size,
            self.wants(entry, kind),
            budget=RetryBudget(),
        )
        assert found.problem is None
        assert len(found.regions) == (TENSORS if kind in {"with tensors", "with both"} else 0)

    def one(self, kind: str) -> None:
        self.read(self.entries[0], kind)

    def two_at_a_time(self, kind: str) -> None:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(self.read, entry, kind) for entry in self.entries]:
                done.result()


def timed(work: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(title: str, work: Callable[[str], None], rounds: int) -> None:
    kinds = ("sha256", "with pieces", "with tensors", "with both")
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            found[kind].append(timed(partial(work, kind)))
    print(title)
    for kind in kinds:
        pairs = list(zip(found[kind], found["sha256"], strict=True))
        wall, cpu = (statistics.median(a[n] / b[n] for a, b in pairs) for n in (0, 1))
        best = min(run[0] for run in found[kind])
        print(f"  {kind:14} {best:7.3f} s   wall x {wall:5.2f}   cpu x {cpu:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), options.files, options.mib)
        passes = Passes(Path(name))
        passes.two_at_a_time("sha256")
        compare("one file", passes.one, options.rounds)
        compare(f"{options.files} files, two at a time", passes.two_at_a_time, options.rounds)


if __name__ == "__main__":
    main()
