"""``verify``: every stored byte, every claim of the record, every signature; on a real store."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model.entry import Observation, Problem
from manifestd.model.manifest import Item, manifest_digest
from manifestd.model.snapshot import EvidenceCounts, Selection, Snapshot, moment_of
from manifestd.model.verification import VerifyResult
from manifestd.signing.trust import Trust, TrustedKey
from manifestd.store import Store, open_store
from manifestd.workflows.sign import (
    judge_signature,
    sign_snapshot,
    signature_of,
    signer_name,
)
from manifestd.workflows.verify import report_of, verify_references
from tests.signing.conftest import public, signer

CONFIG = b'{"model_type": "gpt2"}'
WEIGHTS = b"\x08" * 1000
FACTS = {"schema": "manifestd.facts/v1", "tensors": ["h.0"]}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fill(store: Store, **changes: Any) -> Snapshot:
    """Store a tree of two files and return its record, with ``changes`` as its lies."""
    store.blobs.put(CONFIG, "body")
    facts = store.blobs.put(canonical.encode(FACTS), "facts")
    content, seen = store.trees.content_writer(), store.trees.observation_writer()
    content.add("config.json", len(CONFIG), sha(CONFIG))
    seen.add("config.json", Observation(role="config", evidence={"sha256": "measured"}, body=True))
    content.add("model.safetensors", len(WEIGHTS), sha(WEIGHTS))
    seen.add(
        "model.safetensors",
        Observation(role="weights", evidence={"sha256": "declared"}, facts=facts),
    )
    items = [
        Item("config.json", len(CONFIG), sha(CONFIG)),
        Item("model.safetensors", len(WEIGHTS), sha(WEIGHTS)),
    ]
    record = Snapshot(
        name="gpt2",
        source="hf://openai-community/gpt2",
        requested="main",
        revision="607a30d783dfa663caf39e06633721c8d4cfcd7e",
        captured_at="2026-03-01T12:00:00Z",
        tool="manifestd/0.1.0",
        selection=Selection(),
        manifest=manifest_digest(items),
        complete=True,
        files=2,
        bytes=len(CONFIG) + len(WEIGHTS),
        evidence=EvidenceCounts(measured=1, declared=1),
        content=content.finish(),
        observation=seen.finish(),
    )
    return msgspec.structs.replace(record, **changes)


def put(path: Path, keys: Path, key: str | None = "p256", **changes: Any) -> str:
    with open_store(path, write=True) as store, store.transaction():
        record = fill(store, **changes)
        data = canonical.encode(record)
        digest = "sha256:" + sha(data)
        bundle = sign_snapshot(record, digest, signer(keys, key)) if key else None
        assert store.snapshots.add(data, bundle) == digest
    return digest


def trust(keys: Path, *names: str, **more: Any) -> Trust:
    return Trust(
        [
            TrustedKey(key=public(keys, name), person=name, **{"may": ["snapshot"], **more})
            for name in names
        ]
    )


def verify(path: Path, reference: str, trusted: Trust) -> VerifyResult:
    with open_store(path) as store:
        [result] = verify_references(store, [reference], trusted)
    return result


def overwrite(path: Path, digest: str, data: bytes, size: int | None = None) -> None:
    """Change stored bytes behind the store's back."""
    connection = sqlite3.connect(path)
    changed = connection.execute(
        "UPDATE blob SET data = ?, size = ?, encoding = 'raw' WHERE digest = ?",
        (data, len(data) if size is None else size, bytes.fromhex(digest.removeprefix("sha256:"))),
    )
    assert changed.rowcount == 1
    connection.commit()
    connection.close()


def stored(path: Path, kind: str) -> list[tuple[str, bytes]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT hex(digest), encoding, data FROM blob WHERE kind = ?", (kind,)
    ).fetchall()
    connection.close()
    return [
        (
            "sha256:" + digest.lower(),
            zlib.decompress(data[:-4]) if encoding == "zlib+crc32" else data,
        )
        for digest, encoding, data in rows
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshots" / "manifestd.db"


def test_a_whole_and_trusted_snapshot_verifies(path: Path, keys: Path) -> None:
    digest = put(path, keys)
    result = verify(path, "hf://openai-community/gpt2", trust(keys, "p256"))
    assert result.flaws == []
    assert (result.verified, result.content, result.signature) == (True, "verified", "verified")
    assert (result.snapshot, result.signed_by, result.exit_code) == (digest, ["p256"], 0)
    assert msgspec.structs.asdict(result.checked) == {"files": 2, "bodies": 1, "facts": 1}


def test_unsigned_and_untrusted_snapshots_do_not_verify_though_their_content_does(
    path: Path, keys: Path
) -> None:
    digest = put(path, keys, key=None)
    result = verify(path, digest, trust(keys, "p256"))
    assert (result.content, result.signature, result.exit_code) == ("verified", "unsigned", 4)
    digest = put(path, keys, key="other", name="gpt2-again")
    result = verify(path, digest, trust(keys, "p256"))
    assert (result.content, result.signature, result.exit_code) == ("verified", "untrusted", 4)
    assert result.signed_by == [public(keys, "other").key_id]
    assert "not trusted" in (result.signatures[0].why or "")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"until": datetime(2026, 2, 28, tzinfo=UTC)}, "counted until 2026-02-28"),
        ({"from_": datetime(2026, 3, 2, tzinfo=UTC)}, "counts from 2026-03-02"),
        ({"may": ["approve"]}, "may approve, not snapshot"),
    ],
)
def test_a_key_outside_its_time_or_role_makes_the_snapshot_untrusted(
    path: Path, keys: Path, more: dict[str, Any], why: str
) -> None:
    result = verify(path, put(path, keys), trust(keys, "p256", **more))
    assert (result.signature, result.exit_code) == ("untrusted", 4)
    assert result.signed_by == ["p256"]
    assert why in (result.signatures[0].why or "")


def test_one_good_signature_beside_an_untrusted_one_is_enough(path: Path, keys: Path) -> None:
    digest = put(path, keys)
    with open_store(path, write=True) as store:
        record = store.snapshots.load(digest)
        store.snapshots.attach(digest, sign_snapshot(record, digest, signer(keys, "other")))
        assert signature_of(store, digest, record, trust(keys, "p256")) == ("verified", ["p256"])
        both = trust(keys, "p256", "other")
        assert signature_of(store, digest, record, both) == ("verified", ["p256", "other"])
        assert signature_of(store, digest, record, Trust()) == (
            "untrusted",
            [public(keys).key_id, public(keys, "other").key_id],
        )


def test_a_signature_of_another_snapshot_is_invalid_here(path: Path, keys: Path) -> None:
    first, second = put(path, keys), put(path, keys, name="second")
    with open_store(path) as store:
        one, two = store.snapshots.load(first), store.snapshots.load(second)
        [foreign] = store.snapshots.bundles(second)
    check = judge_signature(
        foreign,
        digest=first,
        manifest=one.manifest,
        trust=trust(keys, "p256"),
        at=moment_of(one.captured_at),
    )
    assert (check.state, check.person) == ("invalid", "p256")
    assert "another snapshot" in (check.why or "")
    # The same manifest and the same key: only the snapshot's digest tells them apart.
    assert one.manifest == two.manifest

    connection = sqlite3.connect(path)
    ids = dict(connection.execute("SELECT hex(digest), id FROM snapshot").fetchall())
    numbers = [ids[digest.removeprefix("sha256:").upper()] for digest in (first, second)]
    connection.execute("DELETE FROM signature WHERE snapshot = ?", (numbers[0],))
    connection.execute("UPDATE signature SET snapshot = ? WHERE snapshot = ?", tuple(numbers))
    connection.commit()
    connection.close()
    moved = verify(path, first, trust(keys, "p256"))
    assert (moved.signature, moved.exit_code, moved.verified) == ("invalid", 4, False)
    assert verify(path, second, trust(keys, "p256")).signature == "unsigned"


@pytest.mark.parametrize("kind", ["body", "facts", "leaf", "node", "record", "bundle"])
def test_one_changed_byte_in_any_kind_of_blob_is_found(path: Path, keys: Path, kind: str) -> None:
    digest = put(path, keys)
    blobs = stored(path, kind)
    assert blobs or kind == "node"
    for name, data in blobs:
        overwrite(path, name, data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        result = verify(path, digest, trust(keys, "p256"))
        assert (result.verified, result.exit_code) == (False, 4)
        assert [flaw.code for flaw in result.flaws] == ["store-tampered"]
        overwrite(path, name, data)
        assert verify(path, digest, trust(keys, "p256")).verified


@pytest.mark.parametrize("kind", ["body", "facts"])
def test_a_document_that_is_gone_is_named_with_its_file(path: Path, keys: Path, kind: str) -> None:
    digest = put(path, keys)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM blob WHERE kind = ?", (kind,))
    connection.commit()
    connection.close()
    result = verify(path, digest, trust(keys, "p256"))
    [flaw] = result.flaws
    assert flaw.path == {"body": "config.json", "facts": "model.safetensors"}[kind]
    assert (result.content, result.signature, result.exit_code) == ("tampered", "verified", 4)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"manifest": "sha256:" + "0" * 64}, "manifest is not that"),
        ({"manifest": None, "complete": False}, "manifest is not that"),
        ({"files": 3}, "number of files"),
        ({"bytes": 3}, "number of bytes"),
        ({"evidence": EvidenceCounts(measured=2)}, "evidence is not that"),
        ({"problems": [Problem(code="access-denied", what="x")]}, "calls itself complete"),
    ],
)
def test_a_record_that_contradicts_its_own_files_is_found_though_it_is_signed(
    path: Path, keys: Path, changes: dict[str, Any], what: str
) -> None:
    result = verify(path, put(path, keys, **changes), trust(keys, "p256"))
    assert (result.content, result.signature, result.exit_code) == ("tampered", "verified", 4)
    assert any(what in flaw.what for flaw in result.flaws)


def test_a_moment_that_is_none_is_malformed_not_a_defect(path: Path, keys: Path) -> None:
    with open_store(path, write=True) as store:
        record = fill(store, captured_at="2026-02-31T12:00:00Z")
    bundle = sign_snapshot(record, canonical.digest_of(record), signer(keys))
    assert bundle
    with pytest.raises(MalformedError, match="no moment"):
        moment_of(record.captured_at)


def test_one_bad_reference_hides_none_of_the_others(path: Path, keys: Path) -> None:
    good = put(path, keys)
    bad = put(path, keys, key=None, name="bad")
    with open_store(path) as store:
        report = report_of(
            verify_references(store, [good, "sha256:" + "1" * 64, bad], trust(keys, "p256"))
        )
    assert [item.exit_code for item in report.snapshots] == [0, 3, 4]
    assert (report.verified, report.exit_code) == (False, 4)
    assert report_of(report.snapshots[:2]).exit_code == 3
    assert report_of(report.snapshots[:1]).exit_code == 0
    assert report.snapshots[1].flaws[0].code == "not-stored"


def test_the_signers_name_is_the_key_id_that_the_bundle_carries(keys: Path) -> None:
    assert signer_name(signer(keys)) == public(keys).key_id


def test_verifying_imports_no_client_of_any_network(path: Path, keys: Path) -> None:
    put(path, keys)
    (path.parent.parent / "key.pub").write_bytes(public(keys).pem)
    config = path.parent.parent / "manifestd.toml"
    config.write_text("[[trust]]\nkey = 'key.pub'\nperson = 'p'\n")
    code = (
        "import sys; from manifestd.cli.main import run;"
        f"code = run(['--config', {str(config)!r}, 'verify', 'hf://openai-community/gpt2']);"
        "heavy = {'boto3', 'botocore', 'huggingface_hub', 'httpx2', 'sqlite_utils', 'blake3'};"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == "0 []", result.stderr
