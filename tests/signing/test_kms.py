"""Keys in KMS, against moto's server over real HTTP."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from manifestd.errors import (
    AccessDeniedError,
    SourceNotFoundError,
    UnreachableError,
    UsageError,
)
from manifestd.signing import signer_for
from manifestd.signing.dsse import sign_statement, verify_bundle
from manifestd.signing.public import read_public_key
from manifestd.signing.statement import check_snapshot_statement, snapshot_statement
from tests.signing.conftest import digest_of, record


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for name in ("AWS_PROFILE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = boto3.client("kms")
    yield client
    client.close()


def make(kms: Any, spec: str, usage: str = "SIGN_VERIFY") -> str:
    key: str = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return key


@pytest.mark.parametrize(
    ("spec", "algorithm"),
    [("ECC_NIST_P256", "p256"), ("ECC_NIST_P384", "p384"), ("ECC_NIST_P521", "p521")],
)
def test_a_snapshot_signed_in_kms_verifies_like_any_other(
    kms: Any, spec: str, algorithm: str
) -> None:
    signer = signer_for(f"awskms:///{make(kms, spec)}")
    key = read_public_key(signer.public_pem())
    assert key.algorithm == algorithm
    bundle = sign_statement(snapshot_statement(record(), digest_of(record())), signer)
    verified = verify_bundle(bundle, [key])
    check_snapshot_statement(verified.payload, digest_of(record()), record().manifest)


def test_what_is_too_large_for_kms_to_hash_is_sent_as_its_digest(kms: Any) -> None:
    """Moto takes a digest for a message, which shows what was sent: a signature over it."""
    signer = signer_for(f"awskms:///{make(kms, 'ECC_NIST_P256')}")
    key = read_public_key(signer.public_pem())
    limit, beyond = b"x" * 4096, b"x" * 4097
    assert key.verifies(signer.sign(limit), limit)
    assert key.verifies(signer.sign(beyond), hashlib.sha256(beyond).digest())


def test_a_key_is_found_by_its_alias(kms: Any) -> None:
    identifier = make(kms, "ECC_NIST_P256")
    kms.create_alias(AliasName="alias/release", TargetKeyId=identifier)
    by_alias = signer_for("awskms:///alias/release")
    assert by_alias.public_pem() == signer_for(f"awskms:///{identifier}").public_pem()


def test_keys_that_cannot_sign_for_us_are_refused(kms: Any) -> None:
    with pytest.raises(SourceNotFoundError, match="no key alias/absent"):
        signer_for("awskms:///alias/absent")
    with pytest.raises(UsageError, match="neither ECDSA nor Ed25519"):
        signer_for(f"awskms:///{make(kms, 'RSA_2048')}")
    with pytest.raises(UsageError, match="secp256k1 is not supported"):
        signer_for(f"awskms:///{make(kms, 'ECC_SECG_P256K1')}")


@pytest.mark.parametrize(
    "uri", ["awskms:///", "awskms://host/alias/x", "awskms:///alias/a b", "awskms:///../x"]
)
def test_malformed_key_uris_are_refused_before_any_request(uri: str) -> None:
    with pytest.raises(UsageError, match="not a KMS key"):
        signer_for(uri)


def test_missing_credentials_and_an_absent_service_are_told_apart(
    kms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UnreachableError, match="KMS does not answer") as absent:
        signer_for("awskms:///alias/release")
    assert "Could not connect" in (absent.value.why or "")
    assert "AWS_ENDPOINT_URL_KMS" in (absent.value.hint or "")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(AccessDeniedError, match="no AWS credentials"):
        signer_for("awskms:///alias/release")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, "")
    with pytest.raises(UsageError, match="no AWS region"):
        signer_for("awskms:///alias/release")
