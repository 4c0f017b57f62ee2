"""Writes the example that the README and the tutorial replay: ``python -m tests.support.make_example``.

Two revisions of a tiny model, taken from a Hub on loopback with a fixed key and a fixed
clock, so that records and digests come out the same whenever it is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import safetensors, tiny_model, tiny_tensors
from manifestd.model.reference import HubReference, parse_hub
from manifestd.signing.base import Passphrase, Signer
from manifestd.sources.base import Resolved, SourceSettings
from manifestd.sources.hub import HubSource
from manifestd.store import open_store
from manifestd.store.backup import backup_store
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.snapshot import take_snapshot

FOLDER: Final = Path(__file__).parents[2] / "snapshots" / "tiny"
NAME: Final = "acme/tiny"
TIMES: Final = {
    "v1": datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
    "v2": datetime(2026, 4, 1, 9, 0, tzinfo=UTC),
}

CONFIG: Final = """\
# The example that README.md and docs/tutorial.md replay. Its private key is public knowledge
# (tests/support/make_example.py): trust it nowhere else.

[store]
path = "manifestd.db"

[[trust]]
key = "example.pub"
person = "example"
may = ["snapshot"]
"""


def first() -> dict[str, bytes]:
    """The model as it was approved."""
    return tiny_model(NAME)


def second() -> dict[str, bytes]:
    """The model a month later: one change of every kind that matters, or does not."""
    files = first()
    config = json.loads(files["config.json"])
    config |= {"torch_dtype": "bfloat16", "auto_map": {"AutoModel": "modeling_tiny.TinyModel"}}
    files["config.json"] = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
    files["modeling_tiny.py"] = b"class TinyModel:\n    pass\n"
    tensors = tiny_tensors(NAME)
    kind, shape, data = tensors["h.1.mlp.c_fc.weight"]
    tensors["h.1.mlp.c_fc.weight"] = (kind, shape, bytes([data[0] ^ 1]) + data[1:])
    files["model.safetensors"] = safetensors(tensors, format="pt")
    files["tokenizer_config.json"] = json.dumps(json.loads(files["tokenizer_config.json"])).encode()
    files["LICENSE.txt"] = files.pop("LICENSE")
    return files


class ExampleKey(Signer):
    """A key made from a sentence; signs the same bytes the same way each time (RFC 6979)."""

    scheme: ClassVar[str] = "example"

    def __init__(self, uri: str = "", *, passphrase: Passphrase | None = None) -> None:
        secret = hashlib.sha256(b"manifestd example: trust this key nowhere").digest()
        self._key = ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1())

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class ExampleSource(HubSource):
    """The Hub on loopback, without the port of the day in the record."""

    def resolve(self) -> Resolved:
        resolved = super().resolve()
        facts = {key: value for key, value in resolved.facts.items() if key != "endpoint"}
        return msgspec.structs.replace(resolved, facts=facts)


def make_store(target: Path) -> None:
    """Take, sign and store both revisions; ``target`` must not exist or be such a store."""
    with tempfile.TemporaryDirectory() as folder, LoopbackHub() as hub:
        commit = hub.add_repo(NAME, first(), lfs={"model.safetensors"}, card={"license": "mit"})
        hub.add_tag(NAME, "v1", commit)
        commit = hub.add_revision(NAME, second(), lfs={"model.safetensors"})
        hub.add_tag(NAME, "v2", commit)
        path = Path(folder) / "manifestd.db"
        with open_store(path, write=True) as store:
            for tag, moment in TIMES.items():
                reference = parse_hub(f"{NAME}@{tag}")
                assert isinstance(reference, HubReference)
                source = ExampleSource(
                    reference, SourceSettings(), environ={"HF_ENDPOINT": hub.endpoint}
                )
                take_snapshot(
                    SnapshotRequest(reference=reference, read="all"),
                    store=store,
                    tool="manifestd/0.1.0",
                    signer=ExampleKey(),
                    clock=lambda moment=moment: moment,  # type: ignore[misc]
                    source=source,
                )
        backup_store(path, target)
    with closing(sqlite3.connect(target)) as database:
        # Large pages pay in large stores; this one is to be small in the repository.
        database.execute("PRAGMA page_size = 1024")
        database.execute("VACUUM")


def main(folder: Path = FOLDER) -> None:
    """Write the store, the public key and the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    make_store(folder / "manifestd.db")
    (folder / "example.pub").write_bytes(ExampleKey().public_pem())
    (folder / "manifestd.toml").write_text(CONFIG)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
