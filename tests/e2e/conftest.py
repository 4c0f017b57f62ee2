"""Every test gets a desk of its own and nothing of this machine's tokens, keys and proxies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Read when huggingface_hub is imported, so before any test imports it.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.s3 import LoopbackS3
from tests.e2e.desk import Desk
from tests.support.s3_faults import FaultServer
from tests.support.s3_server import aws_environment


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    import huggingface_hub.constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "MANIFESTD_CONFIG",
                 "MANIFESTD_STORE", "MANIFESTD_KEY_PASSPHRASE"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    made = Desk(folder)
    made("init", "--person", "alice")
    return made


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture(scope="session")
def _moto() -> Iterator[LoopbackS3]:
    with LoopbackS3() as server:
        yield server


@pytest.fixture
def s3(_moto: LoopbackS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LoopbackS3:
    """A server that many tests share: use buckets with names of your own."""
    aws_environment(monkeypatch, _moto.endpoint, tmp_path)
    return _moto


@pytest.fixture
def faulty_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultServer]:
    """One bucket, called ``bucket``, that goes wrong on order."""
    with FaultServer() as server:
        aws_environment(monkeypatch, server.url, tmp_path)
        yield server
