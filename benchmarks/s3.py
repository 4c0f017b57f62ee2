"""What the S3 source costs beside bare boto3, in one run, against a canned server of its own.

    python benchmarks/s3.py [list] [small] [heads] [large]

CPU seconds of this process (all threads) are what is compared: wall time on a busy
machine says more about the machine. The server is another process and sends prepared
bytes, so it is never what is measured.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import boto3
from botocore.config import Config

from benchmarks.parts.canned_s3 import HEAD, Canned, page, page_asked, serving
from manifestd.model.entry import Entry
from manifestd.model.reference import parse_s3
from manifestd.sources.base import Resolved, SourceSettings
from manifestd.sources.s3 import S3Source
from manifestd.sources.s3_client import Connection
from manifestd.sources.s3_options import S3Options

KEYS = 100_000
SMALL = 16 * 1024
SMALL_COUNT = 3000
LARGE = 512 * 1024 * 1024
THREADS = 4
TIMES = 3

_SUMS = b"x-amz-checksum-type: FULL_OBJECT\r\nx-amz-checksum-sha256: %b\r\n"


class Answers(Canned):
    """A listing, and objects of two sizes."""

    pages: ClassVar[list[bytes]]
    large = bytes(1 << 20)
    small = bytes(SMALL)

    @classmethod
    def prepare(cls) -> None:
        cls.pages = [
            page(b"p", start, start + 1000, SMALL, more=start + 1000 < KEYS)
            for start in range(0, KEYS, 1000)
        ]

    def answer(self, line: bytes) -> None:
        write = self.transport.write
        if b"versioning" in line:
            self.send(b"<VersioningConfiguration/>")
        elif b"list-type" in line:
            self.send(self.pages[page_asked(line) // 1000])
        elif line.startswith(b"HEAD"):
            write(HEAD % SMALL + _SUMS % (b"A" * 43 + b"=") + b"\r\n")
        elif b"/large" in line:
            write(HEAD % LARGE + b"\r\n")
            for _ in range(LARGE >> 20):
                write(self.large)
        else:
            self.send(self.small)


def cost(work: Callable[[], int]) -> tuple[float, float, int]:
    """Best CPU seconds and wall seconds of some runs, and how many things one did."""
    best, wall, count = float("inf"), float("inf"), 0
    for _ in range(TIMES):
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        count = work()
        wall = min(wall, time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, spent)
    return best, wall, count


def show(name: str, unit: str, ours: Callable[[], int], bare: Callable[[], int]) -> None:
    theirs = cost(bare)
    mine = cost(ours)
    for label, (cpu, wall, count) in (("boto3", theirs), ("manifestd", mine)):
        print(
            f"{name:7} {label:10} {cpu / count * 1e6:10.1f} us CPU/{unit} {count / wall:12.0f} {unit}/s"
        )
    print(f"{name:7} {'ratio':10} {mine[0] / theirs[0]:10.2f} of boto3's CPU")


def client() -> Any:
    return boto3.client("s3", config=Config(max_pool_connections=32))


def source(**options: Any) -> tuple[S3Source, Resolved]:
    found = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(jobs=THREADS, options=options))
    return found, found.resolve()


def bench_list() -> None:
    def bare() -> int:
        pages = client().get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="p/")
        return sum(len(one["Contents"]) for one in pages)

    def ours() -> int:
        found, resolved = source()
        return sum(1 for _ in found.list(resolved))

    show("list", "key", ours, bare)
    print(f"list    peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def bench_small() -> None:
    owner = client()

    def get(number: int) -> None:
        body = owner.get_object(Bucket="bucket", Key=f"p/{number}")["Body"]
        hashlib.sha256(body.read()).digest()

    found, resolved = source()

    def open_one(number: int) -> None:
        entry = Entry(path=str(number), size=SMALL, identity={"etag": "e"})
        digest = hashlib.sha256()
        with found.open(resolved, entry) as stream:
            for data in stream.chunks(1 << 20):
                digest.update(data)

    def spread(work: Callable[[int], None]) -> Callable[[], int]:
        def run() -> int:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(work, range(SMALL_COUNT)))
            return SMALL_COUNT

        return run

    show("small", "object", spread(open_one), spread(get))


def bench_heads() -> None:
    owner = client()
    connection = Connection("bucket", S3Options(), SourceSettings())

    def bare() -> int:
        for number in range(SMALL_COUNT):
            owner.head_object(Bucket="bucket", Key=f"p/{number}", ChecksumMode="ENABLED")
        return SMALL_COUNT

    def ours() -> int:
        for number in range(SMALL_COUNT):
            connection.head(f"p/{number}", version=None, checksums=True)
        return SMALL_COUNT

    show("heads", "HEAD", ours, bare)


def bench_large() -> None:
    owner = client()
    found, resolved = source()
    entry = Entry(path="large", size=LARGE, identity={"etag": "e"})

    def bare() -> int:
        digest = hashlib.sha256()
        body = owner.get_object(Bucket="bucket", Key="p/large")["Body"]
        while data := body.read(1 << 20):
            digest.update(data)
        return LARGE >> 20

    def ours() -> int:
        digest = hashlib.sha256()
        with found.open(resolved, entry) as stream:
            for data in stream.chunks(1 << 20):
                digest.update(data)
        return LARGE >> 20

    show("large", "MiB", ours, bare)


def main(names: list[str]) -> None:
    with serving(Answers) as url:
        os.environ |= {
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        benches = {
            "list": bench_list,
            "small": bench_small,
            "heads": bench_heads,
            "large": bench_large,
        }
        for name in names or benches:
            benches[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
