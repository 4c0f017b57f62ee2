"""Bundles: others verify what we sign, and nothing but what we signed passes."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from manifestd.errors import (
    MalformedError,
    NotCanonicalError,
    NotVerifiedError,
    SignatureError,
    UntrustedError,
)
from manifestd.model import media_types
from manifestd.signing.dsse import (
    MAX_BUNDLE,
    dsse_envelope,
    open_bundle,
    sign_statement,
    verify_bundle,
)
from manifestd.signing.file import FileSigner
from manifestd.signing.public import Algorithm, PublicKey
from manifestd.signing.statement import check_snapshot_statement, snapshot_statement
from tests.signing.conftest import digest_of, public, record, signer

ALGORITHMS: list[Algorithm] = ["p256", "p384", "p521", "ed25519"]


def signed(keys: Path, name: str = "p256") -> bytes:
    snapshot = record()
    return sign_statement(snapshot_statement(snapshot, digest_of(snapshot)), signer(keys, name))


def test_the_bundle_has_the_published_layout(keys: Path) -> None:
    bundle = json.loads(signed(keys))
    assert bundle.keys() == {"mediaType", "verificationMaterial", "dsseEnvelope"}
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle["verificationMaterial"] == {
        "publicKey": {"hint": public(keys).hint},
        "tlogEntries": [],
    }
    [signature] = bundle["dsseEnvelope"]["signatures"]
    assert signature["keyid"] == public(keys).key_id
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
    assert statement == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "manifest", "digest": {"sha256": "b" * 64}},
            {"name": "snapshot", "digest": {"sha256": digest_of(record())[7:]}},
        ],
        "predicateType": "https://manifestd.dev/predicate/snapshot/v1",
        "predicate": {
            "source": "hf://openai-community/gpt2",
            "requested": "main",
            "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
            "capturedAt": "2026-03-01T12:00:00Z",
            "complete": True,
            "files": 12,
            "bytes": 548118077,
            "tool": "manifestd/0.1.0",
        },
    }


def test_a_snapshot_without_manifest_has_one_subject() -> None:
    snapshot = record(manifest=None)
    statement = json.loads(snapshot_statement(snapshot, digest_of(snapshot)))
    assert [subject["name"] for subject in statement["subject"]] == ["snapshot"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_securesystemslib_verifies_our_envelope_by_our_key_id(
    keys: Path, algorithm: Algorithm
) -> None:
    bundle = signed(keys, algorithm)
    envelope = Envelope.from_dict(json.loads(dsse_envelope(open_bundle(bundle))))
    theirs = SSlibKey.from_crypto(serialization.load_pem_public_key(public(keys, algorithm).pem))
    assert list(envelope.verify([theirs], 1)) == [public(keys, algorithm).key_id]
    stranger = SSlibKey.from_crypto(serialization.load_pem_public_key(public(keys, "other").pem))
    with pytest.raises(VerificationError):
        envelope.verify([stranger], 1)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_openssl_verifies_the_exported_parts_by_the_documented_command(
    keys: Path, tmp_path: Path, algorithm: Algorithm
) -> None:
    parts = open_bundle(signed(keys, algorithm))
    (tmp_path / "pae.bin").write_bytes(parts.signed_bytes())
    (tmp_path / "sig.bin").write_bytes(parts.signature)
    (tmp_path / "key.pub").write_bytes(public(keys, algorithm).pem)
    commands = {
        "p256": "openssl dgst -sha256 -verify key.pub -signature sig.bin pae.bin",
        "p384": "openssl dgst -sha384 -verify key.pub -signature sig.bin pae.bin",
        "p521": "openssl dgst -sha512 -verify key.pub -signature sig.bin pae.bin",
        "ed25519": "openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in pae.bin -sigfile sig.bin",
    }
    page = Path(__file__).parents[2] / "docs/howto/verify-without-manifestd.md"
    assert commands[algorithm] in page.read_text()

    def run() -> int:
        return subprocess.run(
            commands[algorithm].split(), cwd=tmp_path, capture_output=True, check=False
        ).returncode

    assert run() == 0
    (tmp_path / "pae.bin").write_bytes(parts.signed_bytes() + b" ")
    assert run() != 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bundle_verifies_with_its_key_among_others(keys: Path, algorithm: Algorithm) -> None:
    bundle = signed(keys, algorithm)
    verified = verify_bundle(bundle, [public(keys, "other"), public(keys, algorithm)])
    assert verified.key == public(keys, algorithm)
    check_snapshot_statement(verified.payload, digest_of(record()), record().manifest)


@pytest.mark.parametrize("algorithm", ["p256", "ed25519"])
def test_every_changed_byte_of_a_bundle_is_refused(keys: Path, algorithm: str) -> None:
    bundle = signed(keys, algorithm)
    key = public(keys, algorithm)
    verify_bundle(bundle, [key])
    for position in range(len(bundle)):
        for mask in (0x01, 0x02, 0x20, 0x80):
            changed = bytearray(bundle)
            changed[position] ^= mask
            with pytest.raises(NotVerifiedError):
                verify_bundle(bytes(changed), [key])
    for length in range(len(bundle)):
        with pytest.raises(NotVerifiedError):
            verify_bundle(bundle[:length], [key])


def test_a_key_outside_the_trust_is_never_used(keys: Path) -> None:
    with pytest.raises(UntrustedError, match=public(keys).key_id[:12]):
        verify_bundle(signed(keys), [public(keys, "other")])
    with pytest.raises(UntrustedError):
        verify_bundle(signed(keys), [])


def test_a_signature_that_claims_a_trusted_key_and_is_not_its_own_is_invalid(keys: Path) -> None:
    trusted = public(keys)
    forged = json.loads(signed(keys, "other"))
    forged["dsseEnvelope"]["signatures"][0]["keyid"] = trusted.key_id
    forged["verificationMaterial"]["publicKey"]["hint"] = trusted.hint
    with pytest.raises(SignatureError, match="not one of the key"):
        verify_bundle(canonical(forged), [trusted, public(keys, "other")])


def canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_another_snapshots_signature_does_not_pass_for_this_one(keys: Path) -> None:
    payload = verify_bundle(signed(keys), [public(keys)]).payload
    other = record(name="other")
    with pytest.raises(SignatureError, match="another snapshot"):
        check_snapshot_statement(payload, digest_of(other), other.manifest)
    with pytest.raises(SignatureError, match="another snapshot"):
        check_snapshot_statement(payload, digest_of(record()), "sha256:" + "e" * 64)
    with pytest.raises(SignatureError, match="another snapshot"):
        check_snapshot_statement(payload, digest_of(record()), None)


def test_a_statement_of_another_kind_does_not_pass(keys: Path) -> None:
    statement = json.loads(snapshot_statement(record(), digest_of(record())))
    statement["predicateType"] = "https://example.com/other"
    with pytest.raises(SignatureError, match="not about a snapshot"):
        check_snapshot_statement(canonical(statement), digest_of(record()), record().manifest)
    statement["_type"] = "https://in-toto.io/Statement/v0.1"
    with pytest.raises(MalformedError, match="not an in-toto statement v1"):
        check_snapshot_statement(canonical(statement), digest_of(record()), record().manifest)


Change = Callable[[dict[str, Any]], Any]

FOREIGN: list[tuple[str, Change]] = [
    ("not a sigstore bundle", lambda b: b.update(mediaType="application/x")),
    ("certificate", lambda b: b["verificationMaterial"].update(certificate={"rawBytes": ""})),
    (
        "certificate",
        lambda b: b["verificationMaterial"].update(x509CertificateChain={"certificates": []}),
    ),
    ("transparency log", lambda b: b["verificationMaterial"].update(tlogEntries=[{"x": "y"}])),
    ("unknown field 'extra'", lambda b: b.update(extra=1)),
    ("unknown field 'extra'", lambda b: b["dsseEnvelope"].update(extra=1)),
    ("bare digest", lambda b: b.update(messageSignature={})),
    ("exactly one signature", lambda b: b["dsseEnvelope"]["signatures"].append({"sig": ""})),
    ("exactly one signature", lambda b: b["dsseEnvelope"].update(signatures=[])),
    ("no text sig", lambda b: b["dsseEnvelope"].update(signatures=[{"sig": 1}])),
    ("no object signature", lambda b: b["dsseEnvelope"].update(signatures=["x"])),
    ("no text payload", lambda b: b["dsseEnvelope"].pop("payload")),
    ("no object publicKey", lambda b: b["verificationMaterial"].pop("publicKey")),
    ("not base64", lambda b: b["dsseEnvelope"].update(payload="%%%")),
]


@pytest.mark.parametrize(("reason", "change"), FOREIGN)
def test_foreign_and_broken_bundles_are_refused_with_their_reason(
    keys: Path, reason: str, change: Change
) -> None:
    bundle = json.loads(signed(keys))
    change(bundle)
    with pytest.raises(MalformedError, match=reason):
        verify_bundle(canonical(bundle), [public(keys)])


def test_a_payload_of_another_type_is_refused_unread(keys: Path) -> None:
    bundle = json.loads(signed(keys))
    bundle["dsseEnvelope"]["payloadType"] = "text/plain"
    with pytest.raises(MalformedError, match="not an in-toto statement"):
        verify_bundle(canonical(bundle), [public(keys)])


def test_size_and_duplicate_names_are_checked_before_anything_is_understood(keys: Path) -> None:
    with pytest.raises(MalformedError, match="too large"):
        open_bundle(b"{" + b" " * MAX_BUNDLE)
    with pytest.raises(MalformedError, match="twice"):
        open_bundle(signed(keys).replace(b'{"dsseEnvelope"', b'{"mediaType":"x","dsseEnvelope"', 1))
    with pytest.raises(MalformedError, match="no object bundle"):
        open_bundle(b"[]")


def test_bundles_of_others_may_be_spelled_freely_but_not_ours(keys: Path) -> None:
    bundle = json.loads(signed(keys))
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = ""
    bundle["verificationMaterial"]["publicKey"] = {"rawBytes": "AAAA", "keyDetails": "X"}
    loose = json.dumps(bundle, indent=2).encode()
    verified = verify_bundle(loose, [public(keys, "other"), public(keys)], own=False)
    assert verified.key == public(keys)
    with pytest.raises(NotCanonicalError):
        verify_bundle(loose, [public(keys)])
    with pytest.raises(UntrustedError, match="unknown"):
        verify_bundle(loose, [public(keys, "other")], own=False)


def test_a_signer_whose_signature_is_wrong_is_caught_before_anything_is_stored(
    keys: Path,
) -> None:
    class Failing(FileSigner):
        def sign(self, data: bytes) -> bytes:
            return super().sign(data + b"!")

    with pytest.raises(SignatureError, match="signer returned"):
        sign_statement(b"{}", Failing(str(keys / "p256.pem")))


def test_the_statement_bytes_are_the_payload_bytes(keys: Path) -> None:
    statement = snapshot_statement(record(), digest_of(record()))
    parts = open_bundle(sign_statement(statement, signer(keys)))
    assert (parts.payload, parts.payload_type) == (statement, media_types.IN_TOTO)


def test_the_public_key_of_the_trust_wins_over_hints(keys: Path) -> None:
    """Two keys with swapped hints in one trust: the bundle must name the key that signed it."""
    bundle = json.loads(signed(keys))
    bundle["verificationMaterial"]["publicKey"]["hint"] = public(keys, "other").hint
    trusted: list[PublicKey] = [public(keys), public(keys, "other")]
    with pytest.raises(SignatureError, match="names another key"):
        verify_bundle(canonical(bundle), trusted)
