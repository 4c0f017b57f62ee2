"""Machines whose OpenSSL allows FIPS algorithms only: what is no security is said to be none."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manifestd import canonical
from manifestd.model.reference import parse_reference
from manifestd.store import open_store
from manifestd.workflows.snapshot import SnapshotRequest, take_snapshot

MIB = 1024 * 1024

FIPS = """
openssl_conf = init
[init]
providers = providers
alg_section = algorithms
[algorithms]
default_properties = fips=yes
[providers]
default = ordinary
[ordinary]
activate = 1
"""

PROGRAM = """
import hashlib
try:
    hashlib.md5(b"")
except ValueError:
    pass
else:
    raise SystemExit("this Python takes an MD5 from elsewhere")
from manifestd.reading.algorithms import hasher
from manifestd.sources.s3_checksums import composite
for algorithm in ("md5", "sha1"):
    made = hasher(algorithm)()
    made.update(b"abc")
    print(algorithm, made.hexdigest())
print(composite("md5", ["00" * 16, "11" * 16]))
"""


def test_weak_digests_are_computed_where_fips_mode_forbids_them_for_security(
    tmp_path: Path,
) -> None:
    (tmp_path / "openssl.cnf").write_text(FIPS)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "from elsewhere" in ran.stderr:
        pytest.skip("hashlib here has algorithms that OpenSSL does not govern")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [
        "md5", "900150983cd24fb0d6963f7d28e17f72",
        "sha1", "a9993e364706816aba3e25717850c26c9cd0d89d",
        "ff2469b76227cbc8114b653551a163de",
    ]  # fmt: skip


def test_tensors_and_pieces_are_hashed_by_sha256_where_that_is_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    header = b'{"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}'
    # One is measured in memory, the other as it streams.
    for name, head in (("a", header), ("b", header.ljust(2 * MIB))):
        data = len(head).to_bytes(8, "little") + head + b"abc"
        (place / f"{name}.safetensors").write_bytes(data)
    with open_store(tmp_path / "s.db", write=True) as store:
        request = SnapshotRequest(reference=parse_reference(str(place)), regions="sha256")
        record = take_snapshot(request, store=store, tool="test").record
        for file in store.trees.files(record):
            assert file.seen.facts is not None
            facts = canonical.decode_foreign(store.blobs.get(file.seen.facts))
            assert facts["digestAlgorithm"] == "sha256"
            assert facts["tensors"][0]["digest"] == hashlib.sha256(b"abc").hexdigest()
