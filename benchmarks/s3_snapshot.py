"""Whole snapshots of S3 prefixes beside bare boto3, in one run, against a canned server.

    python benchmarks/s3_snapshot.py [record] [again] [read] [objects] [million]

CPU seconds of this process, all threads, are what is compared; the server is another
process and sends prepared bytes. Ratios to quote are the last line of each part.

* record: list, plan, record and store 100,000 keys, nothing read; a bare boto3 listing.
* again: the second snapshot of an unchanged prefix, beside the listing alone.
* read: 8 objects of 256 MiB, every byte; a bare boto3 read-and-hash loop, one and two threads.
* objects: 5,000 objects of 16 KiB, with their journal and record; a bare boto3 loop.
* million: 1,000,000 keys, memory at its highest.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config

from manifestd.model.reference import parse_s3
from manifestd.sources.base import SourceSettings
from manifestd.sources.s3 import S3Source
from manifestd.store import open_store
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.snapshot import take_snapshot

MIB: Final = 1024 * 1024
_HEAD: Final = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "e"\r\nLast-Modified: Sun, 01 Mar 2026 12:00:00 GMT\r\n\r\n'


class Kind(NamedTuple):
    """Equal objects below one prefix."""

    keys: int
    size: int


KINDS: Final = {
    "many": Kind(100_000, 16 * 1024),
    "million": Kind(1_000_000, 16 * 1024),
    "large": Kind(8, 256 * MIB),
    "small": Kind(5_000, 16 * 1024),
}


def page(name: str, start: int) -> bytes:
    """One page of a listing, as S3 writes it."""
    kind = KINDS[name]
    stop = min(start + 1000, kind.keys)
    items = b"".join(
        b"<Contents><Key>%b/shard-%07d.dat</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified>"
        b"<ETag>&quot;e&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        b"<ChecksumType>FULL_OBJECT</ChecksumType><Size>%d</Size>"
        b"<StorageClass>STANDARD</StorageClass></Contents>" % (name.encode(), number, kind.size)
        for number in range(start, stop)
    )
    more = stop < kind.keys
    token = b"<NextContinuationToken>%d</NextContinuationToken>" % stop if more else b""
    return (
        b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType>'
        b"<IsTruncated>%b</IsTruncated>%b%b</ListBucketResult>"
        % (b"true" if more else b"false", token, items)
    )


class Canned(asyncio.Protocol):
    """Answers by the first line alone."""

    piece = bytes(MIB)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            line = self.pending[: self.pending.find(b"\r\n")]
            self.pending = self.pending[end + 4 :]
            self.answer(line)

    def answer(self, line: bytes) -> None:
        write = self.transport.write
        if b"versioning" in line:
            body = b"<VersioningConfiguration/>"
            write(_HEAD % len(body) + body)
        elif b"list-type" in line:
            token = line.partition(b"continuation-token=")[2].split(b"&")[0].split(b" ")[0]
            prefix = line.partition(b"&prefix=")[2] or line.partition(b"?prefix=")[2]
            name = prefix.split(b"%2F")[0].decode()
            body = page(name, int(token or b"0"))
            write(_HEAD % len(body) + body)
        else:
            size = KINDS[line.split(b"/")[2].decode()].size
            write(_HEAD % size)
            if line.startswith(b"HEAD"):
                return
            for _ in range(size // MIB):
                write(self.piece)
            write(self.piece[: size % MIB])


def serve(pipe: Pipe) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def server() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


class Cost(NamedTuple):
    cpu: float
    wall: float


def cost(work: Callable[[], object], times: int = 3) -> Cost:
    """Best CPU and wall seconds of some runs."""
    best = Cost(float("inf"), float("inf"))
    for _ in range(times):
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        work()
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = Cost(min(best.cpu, spent), min(best.wall, wall))
    return best


def show(name: str, label: str, found: Cost, count: int, unit: str) -> None:
    print(
        f"{name:8} {label:24} {found.cpu:7.2f} CPU-s {found.cpu / count * 1e6:9.1f} us/{unit}"
        f" {count / found.wall:10.0f} {unit}/s"
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
    count = KINDS["many"].keys
    bare = cost(lambda: listing("many"))
    ours = cost(fresh("many"))
    show("record", "boto3 listing", bare, count, "key")
    show("record", "list, plan, record", ours, count, "key")
    print(f"record   ratio {ours.cpu / bare.cpu:.2f} (goal: at most 2)")


def bench_again() -> None:
    name, count = "small", KINDS["small"].keys
    alone = cost(lambda: listed(name))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "x.db")
        snapshot(store, name, "missing")
        found = snapshot(store, name, "missing")
        assert found.bytes_read == 0
        assert found.evidence.reused == count
        ours = cost(lambda: snapshot(store, name, "missing"))
    show("again", "listing alone", alone, count, "file")
    show("again", "second snapshot", ours, count, "file")
    beyond = (ours.cpu - alone.cpu) / count * 1e6
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
    count = KINDS["large"].keys * KINDS["large"].size // MIB
    bare = {threads: cost(partial(hash_all, "large", threads)) for threads in (1, 2)}
    ours = {jobs: cost(fresh("large", "all", jobs)) for jobs in (1, 2, None)}
    for threads, found in bare.items():
        show("read", f"boto3, {threads} threads", found, count, "MiB")
    for jobs, found in ours.items():
        show("read", f"snapshot, jobs {jobs or 'default'}", found, count, "MiB")
    print(
        f"read     ratio {ours[1].cpu / bare[1].cpu:.2f} of one thread each, "
        f"{ours[2].cpu / bare[2].cpu:.2f} of two (goal: at most 1.15)"
    )


def bench_objects() -> None:
    count = KINDS["small"].keys
    bare = cost(lambda: hash_all("small", 4))
    ours = cost(fresh("small", "all"))
    show("objects", "boto3, 4 threads", bare, count, "object")
    show("objects", "snapshot", ours, count, "object")
    print(
        f"objects  {count / ours.wall:.0f} objects/s (goal: 1500), "
        f"ratio {ours.cpu / bare.cpu:.2f} of boto3's CPU"
    )


def bench_million() -> None:
    code = (
        "import resource, sys; sys.path.insert(0, 'benchmarks'); import s3_snapshot as b\n"
        "from pathlib import Path; import tempfile\n"
        "with tempfile.TemporaryDirectory() as d: f = b.snapshot(Path(d, 'x.db'), sys.argv[1])\n"
        "print(f.files, f.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    )
    for name in ("many", "million"):
        done = subprocess.run(
            [sys.executable, "-c", code, name], check=True, capture_output=True, text=True
        )
        files, seconds, mib = done.stdout.split()
        print(
            f"million  {int(files):9,d} keys in {float(seconds):6.1f} s, {mib} MiB at the highest"
        )


BENCHES: Final = {
    "record": bench_record,
    "again": bench_again,
    "read": bench_read,
    "objects": bench_objects,
    "million": bench_million,
}


def main(names: list[str]) -> None:
    with server() as url:
        os.environ |= {
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name in names or BENCHES:
            BENCHES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
