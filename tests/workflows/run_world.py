"""Models on a Hub and in a bucket, and a configuration that names them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from manifestd.cli.main import run
from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import tiny_model
from tests.support.s3_faults import FaultServer
from tests.support.s3_server import aws_environment
from tests.support.schemas import check_document

COMMAND = Path(sys.executable).with_name("manifestd")

SIDES = '[defaults]\nsides = { hub = "hf://{name}@main", mirror = "s3://bucket/{name}/" }\n'


class Ran(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as a document."""
        return json.loads(self.out)


class World:
    """A Hub, one bucket called ``bucket``, and a configured working directory.

    Attributes:
        hub: Where ``HF_ENDPOINT`` points to.
        s3: Where ``AWS_ENDPOINT_URL_S3`` points to.
        home: The working directory.
    """

    def __init__(
        self, hub: LoopbackHub, s3: FaultServer, home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.hub = hub
        self.s3 = s3
        self.home = home
        self._capsys = capsys

    def run(self, *arguments: str) -> Ran:
        """Run one command in this process."""
        self._capsys.readouterr()
        code = run(list(arguments))
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the installed command as a process of its own."""
        return subprocess.Popen(
            [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.home, env=dict(os.environ),
        )  # fmt: skip

    def files(self, reference: str) -> set[str]:
        """Paths of a snapshot."""
        found = self.run("files", reference, "--format", "json").json["files"]
        return {file["path"] for file in found}

    def write(self, folder: str, files: Mapping[str, bytes]) -> Path:
        """Write files below a folder of the working directory."""
        for path, data in files.items():
            target = self.home / folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return self.home / folder


@contextmanager
def new_world(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """Both servers, and an environment that points to nothing else."""
    monkeypatch.chdir(home)
    for name in ("MANIFESTD_CONFIG", "MANIFESTD_STORE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(home / "hf-home"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with LoopbackHub() as hub, FaultServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        aws_environment(monkeypatch, server.url, home)
        made = World(hub, server, home, capsys)
        assert made.run("init").code == 0
        yield made


def configure(world: World, *names: str, more: str = "", sides: str = SIDES) -> None:
    """Both sides for these models, in the configuration that ``init`` wrote."""
    path = world.home / "manifestd.toml"
    kept = re.split(r"(?m)^\[defaults\]", path.read_text())[0].rstrip("\n")
    models = "".join(f'[[model]]\nname = "{name}"\n' for name in names)
    path.write_text(f"{kept}\n{sides}{models}{more}")


def publish(
    world: World, name: str, change: Callable[[dict[str, bytes]], Any] | None = None, **hub: Any
) -> dict[str, bytes]:
    """A model on the Hub and its mirror, which ``change`` may make differ."""
    files = tiny_model(name)
    world.hub.add_repo(name, files, **hub)
    mirror = dict(files)
    if change is not None:
        change(mirror)
    for path, data in mirror.items():
        world.s3.put(f"{name}/{path}", data)
    return files


def flip(files: dict[str, bytes]) -> None:
    """Change one bit of the weights."""
    data = bytearray(files["model.safetensors"])
    data[-9] ^= 0x10
    files["model.safetensors"] = bytes(data)


def ran(world: World, *options: str, code: int | None = None) -> Any:
    """The document of a run, checked."""
    found = world.run("run", "--format", "json", "--patience", "0", *options)
    assert found.code != 70, found.err
    assert code is None or found.code == code, found
    check_document("run", found.out)
    document = json.loads(found.out)
    assert document["exitCode"] == found.code
    return document


def by_name(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run's models by their names."""
    return {model["name"]: model for model in document["models"]}
