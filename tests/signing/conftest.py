"""Real keys in real files, made once a session: making them is not what most tests are about."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestd import canonical
from manifestd.model.snapshot import EvidenceCounts, Selection, Snapshot
from manifestd.signing.file import FileSigner, new_key
from manifestd.signing.public import Algorithm, PublicKey, read_public_key

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with p256.pem, p384.pem, p521.pem, ed25519.pem, other.pem and their .pub."""
    directory = tmp_path_factory.mktemp("keys")
    algorithms: list[Algorithm] = ["p256", "p384", "p521", "ed25519"]
    for algorithm in algorithms:
        new_key(directory / f"{algorithm}.pem", algorithm=algorithm)
    new_key(directory / "other.pem")
    return directory


def signer(keys: Path, name: str = "p256") -> FileSigner:
    return FileSigner(str(keys / f"{name}.pem"))


def public(keys: Path, name: str = "p256") -> PublicKey:
    return read_public_key((keys / f"{name}.pem.pub").read_bytes())


def record(*, manifest: str | None = "sha256:" + "b" * 64, name: str = "gpt2") -> Snapshot:
    return Snapshot(
        name=name,
        source="hf://openai-community/gpt2",
        requested="main",
        revision="607a30d783dfa663caf39e06633721c8d4cfcd7e",
        captured_at="2026-03-01T12:00:00Z",
        tool="manifestd/0.1.0",
        selection=Selection(),
        manifest=manifest,
        complete=manifest is not None,
        files=12,
        bytes=548118077,
        evidence=EvidenceCounts(measured=12),
        content="sha256:" + "c" * 64,
        observation="sha256:" + "d" * 64,
    )


def digest_of(snapshot: Snapshot) -> str:
    return canonical.digest_of(snapshot)
