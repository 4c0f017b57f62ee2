"""Debian's docker-registry for tests, and artifacts pushed to it with nothing of manifestd."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
MODELPACK = "application/vnd.cncf.model"
KIT = "application/vnd.kitops.modelkit"

_CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}}}
"""


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """A registry on a free port of the loopback; its ``host:port``. Skips where it is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(root=folder / "registry", port=port))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    host = f"127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                assert request(host, "GET", "/v2/")[0] == 200
                break
            except OSError:
                assert process.poll() is None, (folder / "registry.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield host
    finally:
        process.terminate()
        process.wait(20)


def request(
    host: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One plain request; header names are written with underscores."""
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def put_blob(host: str, repository: str, data: bytes) -> str:
    """Upload a blob in one piece; its digest."""
    status, headers, said = request(host, "POST", f"/v2/{repository}/blobs/uploads/", b"")
    assert status == 202, said
    path = headers["Location"].partition(host)[2] or headers["Location"]
    path += ("&" if "?" in path else "?") + "digest=" + sha256(data)
    status, _, said = request(
        host, "PUT", path, data, Content_Type="application/octet-stream"
    )  # fmt: skip
    assert status == 201, said
    return sha256(data)


def put_manifest(
    host: str, repository: str, name: str, document: Mapping[str, Any], kind: str = OCI_MANIFEST
) -> str:
    """Upload a manifest under a tag; its digest."""
    data = json.dumps(document, indent=3).encode()
    status, _, said = request(
        host, "PUT", f"/v2/{repository}/manifests/{name or sha256(data)}", data, Content_Type=kind
    )
    assert status == 201, said
    return sha256(data)


def descriptor(
    host: str, repository: str, data: bytes, kind: str, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Upload a blob and describe it."""
    found: dict[str, Any] = {
        "mediaType": kind, "digest": put_blob(host, repository, data), "size": len(data),
    }  # fmt: skip
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def push(
    host: str,
    repository: str,
    tag: str,
    layers: Sequence[tuple[bytes, str, Mapping[str, str]]],
    *,
    config: tuple[bytes, str] = (b"{}", EMPTY_CONFIG),
    **more: Any,
) -> str:
    """Upload an artifact of (bytes, media type, annotations); its digest."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(host, repository, *config),
        "layers": [descriptor(host, repository, data, kind, notes) for data, kind, notes in layers],
        **more,
    }
    return put_manifest(
        host, repository, tag, {k: v for k, v in document.items() if v is not None}
    )  # fmt: skip


def tar_of(files: Mapping[str, bytes], *links: tuple[str, str, bytes]) -> bytes:
    """A tar archive of files, then members of other kinds (name, target, typeflag)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target, flag in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = flag, target
            tar.addfile(member)
    return out.getvalue()


def push_modelpack(
    host: str, repository: str, tag: str, files: Mapping[str, bytes], *, tar: bool = False,
    legacy: bool = False,
) -> str:  # fmt: skip
    """As modctl does: a layer for each file, raw or in a tar of its own."""
    vendor = "cnai" if legacy else "cncf"
    layers: list[tuple[bytes, str, Mapping[str, str]]] = []
    for path, data in files.items():
        kind = "weight" if path.endswith(("safetensors", "bin")) else "doc"
        form = "tar" if tar else "raw"
        layers.append((
            tar_of({path: data}) if tar else data,
            f"application/vnd.{vendor}.model.{kind}.v1.{form}",
            {f"org.{vendor}.model.filepath": path},
        ))  # fmt: skip
    config = {
        "descriptor": {"name": "tiny", "licenses": ["mit"], "family": "gpt2"},
        "config": {"format": "safetensors", "paramSize": "1m"},
        "modelfs": {"type": "layers", "diffIds": [sha256(data) for data, _, _ in layers]},
    }
    return push(
        host, repository, tag, layers,
        config=(json.dumps(config).encode(), f"application/vnd.{vendor}.model.config.v1+json"),
        artifactType=f"application/vnd.{vendor}.model.manifest.v1+json",
    )  # fmt: skip


def push_modelkit(
    host: str, repository: str, tag: str, model: bytes, rest: bytes, *,
    old: bool = False, packing: str = "", path: str = "./",
) -> str:  # fmt: skip
    """As kit does: the model's files in one tar, the others in another, the Kitfile as config."""
    kitfile = {
        "manifestVersion": "1.0.0",
        "package": {"name": "tiny", "version": "1.0", "license": "MIT", "authors": ["a", "b"]},
        "model": {"name": "tiny", "path": path, "framework": "transformers"},
    }
    layers: list[tuple[bytes, str, Mapping[str, str]]]
    layers = [(rest, f"{KIT}.code.v1.tar{packing}", {})]
    if model:
        layers.insert(0, (model, f"{KIT}.model.v1.tar{packing}", {}))
    more: dict[str, Any] = {"artifactType": f"{KIT}.manifest.v1+json"}
    if old:
        more = {"mediaType": None}
    config = (json.dumps(kitfile).encode(), f"{KIT}.config.v1+json")
    return push(host, repository, tag, layers, config=config, **more)
