"""Key files: made with care, read with suspicion, named as others name them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from manifestd.errors import MalformedError, UsageError
from manifestd.signing import signer_for
from manifestd.signing.file import PASSPHRASE_VARIABLE, FileSigner, new_key
from manifestd.signing.public import Algorithm, read_public_key
from tests.signing.conftest import public, signer

ALGORITHMS: list[Algorithm] = ["p256", "p384", "p521", "ed25519"]


def write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_has_the_key_id_that_securesystemslib_computes(
    keys: Path, algorithm: Algorithm
) -> None:
    key = public(keys, algorithm)
    theirs = SSlibKey.from_crypto(serialization.load_pem_public_key(key.pem))
    assert key.key_id == theirs.keyid
    assert key.algorithm == algorithm


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_a_key_signs_its_public_half_verifies_and_no_other(
    keys: Path, algorithm: Algorithm
) -> None:
    signature = signer(keys, algorithm).sign(b"data")
    assert public(keys, algorithm).verifies(signature, b"data")
    assert not public(keys, algorithm).verifies(signature, b"Data")
    assert not public(keys, "other").verifies(signature, b"data")
    assert not public(keys, algorithm).verifies(b"", b"data")


def test_a_new_key_is_private_to_its_owner_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        new_key(tmp_path / "k.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k.pem").stat().st_mode) == 0o600
    assert (tmp_path / "k.pem").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert (tmp_path / "k.pem.pub").read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----\n")


@pytest.mark.parametrize("taken", ["k.pem", "k.pem.pub"])
def test_a_new_key_never_overwrites_and_leaves_nothing_behind(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("precious")
    with pytest.raises(UsageError, match="never overwritten"):
        new_key(tmp_path / "k.pem")
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_helps(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "k.pem"
    new_key(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match="can be read by others") as caught:
        FileSigner(str(path))
    assert caught.value.hint == f"chmod 600 {path}"


def test_an_encrypted_key_opens_with_its_passphrase_from_a_prompt_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k.pem"
    key = new_key(path, passphrase="correct horse")
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert FileSigner(str(path), passphrase=lambda: b"correct horse").public_pem() == key.pem
    with pytest.raises(UsageError, match="there is no passphrase"):
        FileSigner(str(path))
    with pytest.raises(UsageError, match="does not open"):
        FileSigner(str(path), passphrase=lambda: b"wrong")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    assert FileSigner(str(path)).public_pem() == key.pem
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    with pytest.raises(UsageError, match="does not open"):
        FileSigner(str(path))


def test_a_passphrase_in_the_environment_does_not_disturb_a_plain_key(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "for another key")
    assert signer(keys).public_pem() == public(keys).pem


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty passphrase"):
        new_key(tmp_path / "k.pem", passphrase="")
    assert not list(tmp_path.iterdir())


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    rsa_key = write_key(tmp_path / "r.pem", rsa.generate_private_key(65537, 2048))
    with pytest.raises(UsageError, match="neither ECDSA nor Ed25519"):
        FileSigner(rsa_key)
    koblitz = write_key(tmp_path / "k.pem", ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(UsageError, match="secp256k1 is not supported"):
        FileSigner(koblitz)


def test_a_key_that_openssl_wrote_in_the_older_form_is_read(tmp_path: Path) -> None:
    path = write_key(tmp_path / "k.pem", ec.generate_private_key(ec.SECP256R1()))
    assert Path(path).read_bytes().startswith(b"-----BEGIN EC PRIVATE KEY-----")
    key = read_public_key(FileSigner(path).public_pem())
    assert key.verifies(FileSigner(path).sign(b"x"), b"x")


def test_things_that_are_not_key_files_are_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    large = tmp_path / "large"
    large.write_bytes(b"-" * 100_000)
    large.chmod(0o600)
    junk = tmp_path / "junk"
    junk.write_bytes(b"not a key")
    junk.chmod(0o600)
    for path, reason in [
        (tmp_path / "absent", "no key file"),
        (tmp_path, "not a file"),
        (fifo, "not a file"),
        (large, "too large"),
        (junk, "not a private key"),
    ]:
        with pytest.raises(UsageError, match=reason):
            FileSigner(str(path))


def test_a_public_key_reads_the_same_in_any_pem_spelling(keys: Path) -> None:
    key = public(keys)
    windows = b"comment before\r\n" + key.pem.replace(b"\n", b"\r\n")
    assert read_public_key(windows) == key


def test_a_private_key_is_no_public_key(keys: Path) -> None:
    with pytest.raises(MalformedError, match="private key") as caught:
        read_public_key((keys / "p256.pem").read_bytes())
    assert "BEGIN" not in str(caught.value)
    with pytest.raises(MalformedError, match="not a public key"):
        read_public_key(b"")


def test_key_uris_name_files_by_path_or_by_file_url(keys: Path) -> None:
    expected = public(keys).pem
    assert signer_for(str(keys / "p256.pem")).public_pem() == expected
    assert signer_for(f"file://{keys}/p256.pem").public_pem() == expected
    with pytest.raises(UsageError, match="no signer for keys of the kind 'vault'") as caught:
        signer_for("vault:///x")
    assert "file" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="has no host"):
        signer_for("file://host/x.pem")
