"""What a run over 1,000 models of 30 files costs when nothing has changed.

    python benchmarks/run.py [MODELS]

The Hub and S3 are other processes on loopback, so what is counted is manifestd: CPU seconds
of its process, children none, and the most memory that it held. "beside the requests" is what remains after subtracting what
the same number of requests costs by the same clients with nothing around them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

from manifestd.model.entry import Entry
from manifestd.model.reference import parse_hub, parse_s3
from manifestd.sources.base import Shared, SourceSettings
from manifestd.sources.hub import HubSource
from manifestd.sources.s3 import S3Source

FILES = 30
MODELS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
REPORTS = [
    text
    for form in ("text", "json", "markdown", "html", "junit", "sarif", "csv")
    for text in ("--report", f"{form}:report.{form}")
]
TEXTS = ("README.md", "config.json", "generation_config.json", "tokenizer_config.json")


def contents(name: str) -> dict[str, bytes]:
    """The files of one model: four texts, the rest weights that the Hub declares."""
    files = {path: json.dumps({"name": name, "path": path}).encode() for path in TEXTS}
    for number in range(FILES - len(files)):
        files[f"shard-{number:02}.bin"] = hashlib.sha256(f"{name} {number}".encode()).digest() * 8
    return dict(sorted(files.items()))


class Server(asyncio.Protocol):
    """Hub and S3 at once, told apart by the path; answers are made once."""

    made: ClassVar[dict[str, bytes]] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            target = self.pending[: self.pending.find(b"\r\n")].split(b" ")[1].decode()
            self.pending = self.pending[end + 4 :]
            if target not in self.made:
                self.made[target] = answer(target)
            self.transport.write(self.made[target])


def answer(target: str) -> bytes:
    path, _, query = target.partition("?")
    headers = b""
    if path.startswith("/api/models/"):
        body = hub_api(path.removeprefix("/api/models/"))
    elif "/resolve/" in path:
        name, _, rest = path[1:].partition("/resolve/")
        body = contents(name)[rest.partition("/")[2]]
        headers = b'X-Repo-Commit: %b\r\nETag: "%b"\r\n' % (
            commit(name).encode(), blob(body).encode()
        )  # fmt: skip
    elif "versioning" in query:
        body = b"<VersioningConfiguration/>"
    elif "list-type" in query:
        name = query.partition("prefix=")[2].split("&")[0].replace("%2F", "/").strip("/")
        body = listing(name)
    else:
        org, name, file = path.removeprefix("/models/").split("/", 2)
        body = contents(f"{org}/{name}")[file]
        headers = b'ETag: "%b"\r\nLast-Modified: Sun, 01 Mar 2026 12:00:00 GMT\r\n' % (
            hashlib.md5(body).hexdigest().encode()
        )
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), headers, body)


def commit(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def hub_api(rest: str) -> bytes:
    name = "/".join(rest.split("/")[:2])
    if "/tree/" not in rest:
        siblings = [{"rfilename": path} for path in contents(name)]
        return json.dumps({"id": name, "sha": commit(name), "siblings": siblings}).encode()
    lines = []
    for path, data in contents(name).items():
        line: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob(data)}
        if path not in TEXTS:
            line["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
            line["oid"] = blob(pointer(data))
        lines.append(line)
    return json.dumps(lines).encode()


def pointer(data: bytes) -> bytes:
    """What git holds in the place of an LFS file."""
    oid = hashlib.sha256(data).hexdigest()
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()
    )


def listing(name: str) -> bytes:
    items = b"".join(
        b"<Contents><Key>%b</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified>"
        b"<ETag>&quot;%b&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>"
        % (f"{name}/{path}".encode(), hashlib.md5(data).hexdigest().encode(), len(data))
        for path, data in contents(name).items()
    )
    return (
        b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType>'
        b"<IsTruncated>false</IsTruncated>%b</ListBucketResult>" % items
    )


def serve(pipe: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


# A process counts what its parent had when it was forked; this one has 100 MiB of clients.
PARENT = """
import os, sys, time
start, child = time.perf_counter(), os.fork()
if not child:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(child, 0)
wall = time.perf_counter() - start
print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


def measured(command: list[str]) -> tuple[float, float, int, int]:
    """Wall seconds, CPU seconds, most MiB and exit code of a command."""
    parent = [sys.executable, "-I", "-S", "-c", PARENT]
    done = subprocess.run([*parent, *command], check=True, stdout=subprocess.PIPE, text=True)
    wall, cpu, most, code = done.stdout.split()
    return float(wall), float(cpu), int(most) >> 10, int(code)


def bare_requests() -> float:
    """CPU seconds of the requests of one run, made by the same clients with nothing around them."""
    shared = Shared()
    settings = SourceSettings(options={"heads": "never"})

    def one(number: int) -> None:
        name = f"acme/m{number:05}"
        for source in (
            HubSource(parse_hub(name), SourceSettings()),
            S3Source(parse_s3(f"s3://models/{name}/"), settings),
        ):
            source.shared = shared
            resolved = source.resolve()
            assert sum(isinstance(item, Entry) for item in source.list(resolved)) == FILES

    one(0)
    start = time.process_time()
    for number in range(MODELS):
        one(number)
    spent = time.process_time() - start
    shared.close()
    return spent


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    with tempfile.TemporaryDirectory() as folder:
        try:
            address = f"http://127.0.0.1:{ours.recv()}"
            os.environ |= {
                "HF_ENDPOINT": address, "AWS_ENDPOINT_URL_S3": address, "NO_PROXY": "*",
                "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
                "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            }  # fmt: skip
            bench(Path(folder))
        finally:
            process.terminate()
            process.join()


def bench(folder: Path) -> None:
    command = [str(Path(sys.executable).with_name("manifestd")), "--quiet"]
    os.chdir(folder)
    subprocess.run([*command, "init", "."], check=True, stdout=subprocess.DEVNULL)
    settings = Path("manifestd.toml").read_text().partition("[defaults]")[0]
    settings += '[defaults]\nsides = { hub = "hf://{name}", mirror = "s3://models/{name}/" }\n'
    models = (f'[[model]]\nname = "acme/m{number:05}"\n' for number in range(MODELS))
    Path("manifestd.toml").write_text(settings + "".join(models))
    requests = bare_requests()
    print(f"{MODELS} models x {FILES} files; the requests alone take {requests:.1f} s of CPU")
    steps: list[tuple[str, list[str], Callable[[], None] | None]] = [
        ("first", ["run"], None),
        ("again", ["run"], None),
        ("unchanged", ["run", "--report", "json:unchanged.json"], check_unchanged),
        ("offline", ["run", "--offline"], None),
        ("reports", ["run", "--offline", *REPORTS], None),
        ("status", ["status"], None),
    ]
    for name, arguments, check in steps:
        wall, cpu, most, code = measured([*command, *arguments])
        beside = f", beside the requests {(cpu - requests) / MODELS * 1e3:6.2f} ms a model"
        print(
            f"{name:10} {wall:7.2f} s wall, {cpu:7.2f} s CPU{beside if name in {'first', 'again', 'unchanged'} else ''}, "
            f"at most {most} MiB, exit {code}",
            flush=True,
        )
        if check is not None:
            check()
    size = sum(path.stat().st_size for path in Path("snapshots").iterdir())
    print(f"store {size / 1e6:.1f} MB")


def check_unchanged() -> None:
    document = json.loads(Path("unchanged.json").read_text())
    assert document["counts"]["pass"] == MODELS, document["counts"]
    assert document["bytesRead"] == 0
    # Info and listing of each repository, listing of each prefix, and the bucket once.
    assert document["requests"] == 3 * MODELS + 1, document["requests"]


if __name__ == "__main__":
    with closing(sys.stdout):
        main()
