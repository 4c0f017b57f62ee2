"""Whole snapshots of S3 prefixes beside bare boto3, in one run, against a canned server.

    python benchmarks/s3_snapshot.py [record] [again] [read] [objects] [million]
    python benchmarks/s3_snapshot.py keys-60000 keys-240000    # time and memory of so many keys

CPU seconds of this process, all threads, are what is compared; the server is another
process and sends prepared bytes. Ratios to quote are the last line of each part.

* record: list, plan, record and store 100,000 keys, nothing read; a bare boto3 listing.
* again: the second snapshot of an unchanged prefix, beside the listing alone.
* read: 8 objects of 256 MiB, every byte; a bare boto3 read-and-hash loop, one and two threads.
* objects: 5,000 objects of 16 KiB, with their journal and record; a bare boto3 loop.
* million: 1,000,000 keys, memory at its highest.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config

from benchmarks.parts.canned_s3 import HEAD, Canned, page, page_asked, serving
from manifestd.model.reference import parse_s3
from manifestd.sources.base import SourceSettings
from manifestd.sources.s3 import S3Source
from manifestd.store import open_store
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.snapshot import take_snapshot

MIB: Final = 1024 * 1024


class Kind(NamedTuple):
    """Equal objects below one prefix."""

    keys: int
    size: int


KINDS: Final = {
    "many": Kind(100_000, 16 * 1024),
    "large": Kind(8, 256 * MIB),
    "small": Kind(5_000, 16 * 1024),
}


def kind_of(name: str) -> Kind:
    """A kind by its name; ``keys-250000`` is made up as it is asked for."""
    if name in KINDS:
        return KINDS[name]
    return Kind(int(name.removeprefix("keys-")), 16 * 1024)


class Answers(Canned):
    """Prefixes that are called after their kinds."""

    piece = bytes(MIB)

    def answer(self, line: bytes) -> None:
        write = self.transport.write
        if b"versioning" in line:
            self.send(b"<VersioningConfiguration/>")
        elif b"list-type" in line:
            prefix = line.partition(b"&prefix=")[2] or line.partition(b"?prefix=")[2]
            name = prefix.split(b"%2F")[0]
            kind, start = kind_of(name.decode()), page_asked(line)
            stop = min(start + 1000, kind.keys)
            self.send(page(name, start, stop, kind.size, more=stop < kind.keys))
        else:
            size = kind_of(line.split(b"/")[2].decode()).size
            write(HEAD % size + b"\r\n")
            if line.startswith(b"HEAD"):
                return
            for _ in range(size // MIB):
                write(self.piece)
            write(self.piece[: size % MIB])


class Cost(NamedTuple):
    cpu: float
    wall: float


def race(works: dict[str, Callable[[], object]], times: int = 4) -> dict[str, Cost]:
    """Best CPU and wall seconds of some rounds in which all take turns: a busy machine hits all."""
    best = dict.fromkeys(works, Cost(float("inf"), float("inf")))
    for _ in range(times):
        for label, work in works.items():
            before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            work()
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_SELF)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            best[label] = Cost(min(best[label].cpu, spent), min(best[label].wall, wall))
    return best


def show(name: str, found: dict[str, Cost], count: int, unit: str) -> None:
    for label, one in found.items():
        print(
            f"{name:8} {label:24} {one.cpu:7.2f} CPU-s {one.cpu / count * 1e6:9.1f} us/{unit}"
            f" {count / one.wall:10.0f} {unit}/s"
        )


def client() -> Any:
    return boto3.client("s3", config=Config(max_pool_connections=32))


def listing(name: str) -> int:
    pages = client().get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=f"{name}/")
    return sum(len(one["Contents"]) for one in pages)


def snapshot(store: Path, name: str, read: Any = "none", jobs: int | None = None) -> Any:
    # HEADs are requests, not bookkeeping: `s3.py heads` measures them.
    request = SnapshotRequest(
        reference=parse_s3(f"s3://bucket/{name}/"), read=read, jobs=jobs, options={"heads": "never"}
    )
    with open_store(store, write=True) as opened:
        return take_snapshot(request, store=opened, tool="benchmark").result


def fresh(name: str, read: str = "none", jobs: int | None = None) -> Callable[[], object]:
    """A snapshot into a new store each time."""

    def run() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return snapshot(Path(folder, "x.db"), name, read, jobs)

    return run


def bench_record() -> None:
    found = race({"boto3 listing": lambda: listing("many"), "snapshot": fresh("many")})
    show("record", found, KINDS["many"].keys, "key")
    ratio = found["snapshot"].cpu / found["boto3 listing"].cpu
    print(f"record   ratio {ratio:.2f} (goal: at most 2)")


def bench_again() -> None:
    name, count = "small", KINDS["small"].keys
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "x.db")
        snapshot(store, name, "missing")
        again = snapshot(store, name, "missing")
        assert again.bytes_read == 0
        assert again.evidence.reused == count
        works = {
            "listing alone": lambda: listed(name),
            "second snapshot": lambda: snapshot(store, name, "missing"),
        }
        found = race(works)
    show("again", found, count, "file")
    beyond = (found["second snapshot"].cpu - found["listing alone"].cpu) / count * 1e6
    print(f"again    {beyond:.1f} us/file beyond the listing (goal: below 50)")


def listed(name: str) -> int:
    source = S3Source(parse_s3(f"s3://bucket/{name}/"), SourceSettings())
    found = sum(1 for _ in source.list(source.resolve()))
    source.close()
    return found


def hash_all(name: str, threads: int) -> None:
    owner = client()

    def one(number: int) -> None:
        digest = hashlib.sha256()
        body = owner.get_object(Bucket="bucket", Key=f"{name}/shard-{number:07d}.dat")["Body"]
        while data := body.read(MIB):
            digest.update(data)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(KINDS[name].keys)))


def bench_read() -> None:
    works: dict[str, Callable[[], object]] = {
        "boto3, 1 thread": lambda: hash_all("large", 1),
        "snapshot, 1 job": fresh("large", "all", 1),
        "boto3, 2 threads": lambda: hash_all("large", 2),
        "snapshot, default jobs": fresh("large", "all"),
    }
    found = race(works)
    show("read", found, KINDS["large"].keys * KINDS["large"].size // MIB, "MiB")
    alone = found["snapshot, 1 job"].cpu / found["boto3, 1 thread"].cpu
    usual = found["snapshot, default jobs"].cpu / found["boto3, 2 threads"].cpu
    print(f"read     ratio {alone:.2f} one at a time, {usual:.2f} as usual (goal: at most 1.15)")


def bench_objects() -> None:
    count = KINDS["small"].keys
    found = race(
        {"boto3, 4 threads": lambda: hash_all("small", 4), "snapshot": fresh("small", "all")}
    )
    show("objects", found, count, "object")
    rate = count / found["snapshot"].wall
    ratio = found["snapshot"].cpu / found["boto3, 4 threads"].cpu
    print(f"objects  {rate:.0f} objects/s (goal: 1500), ratio {ratio:.2f} of boto3's CPU")


def bench_million() -> None:
    show_memory(["keys-100000", "keys-1000000"])


def show_memory(names: list[str]) -> None:
    """Time and highest memory of a snapshot of so many keys, each in a process of its own."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2]); import s3_snapshot as b\n"
        "from pathlib import Path; import tempfile\n"
        "with tempfile.TemporaryDirectory() as d: f = b.snapshot(Path(d, 'x.db'), sys.argv[1])\n"
        "print(f.files, f.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    )
    for name in names:
        done = subprocess.run(
            [sys.executable, "-c", code, name, str(Path(__file__).parent)],
            check=True,
            capture_output=True,
            text=True,
        )
        files, seconds, mib = done.stdout.split()
        print(f"million  {int(files):9d} keys in {float(seconds):6.1f} s, {mib} MiB at the highest")


BENCHES: Final = {
    "record": bench_record,
    "again": bench_again,
    "read": bench_read,
    "objects": bench_objects,
    "million": bench_million,
}


def main(names: list[str]) -> None:
    with serving(Answers) as url:
        os.environ |= {
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if names and all(name.startswith("keys-") for name in names):
            show_memory(names)
            return
        for name in names or BENCHES:
            BENCHES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
