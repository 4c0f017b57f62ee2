"""What tests of several rooms stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from manifestd.store import Store, open_store

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("manifestd", deadline=None)
settings.load_profile("manifestd")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "s.db", write=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The URL of an S3 server; whoever uses it empties it first, as ``s3`` does."""
    from tests.support.s3_server import moto_server

    with moto_server() as url:
        yield url


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of an S3 server that holds nothing but the empty bucket ``models``."""
    from tests.support.s3_server import aws_environment, client, reset

    aws_environment(monkeypatch, moto, tmp_path)
    reset(moto)
    owner = client(moto)
    owner.create_bucket(Bucket="models")
    yield owner
    owner.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real OCI registry; repositories are named by whoever uses them."""
    from tests.support.registry import docker_registry

    with docker_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found
