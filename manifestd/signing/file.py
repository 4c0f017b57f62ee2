"""Private keys in PEM files: reading with suspicion, making with care."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import ClassVar, Final, get_args
from urllib.parse import unquote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from manifestd.errors import MalformedError, UsageError
from manifestd.signing.base import Passphrase, Signer
from manifestd.signing.public import MAX_PEM, Algorithm, PublicKey, curve_hash, public_key_of

PASSPHRASE_VARIABLE: Final = "MANIFESTD_KEY_PASSPHRASE"  # noqa: S105  (a name, not a value)
"""Environment variable with the passphrase of an encrypted key, for machines."""

_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
}


class FileSigner(Signer):
    """A PEM key file (PKCS8 or SEC1): ECDSA P-256, P-384, P-521 or Ed25519.

    Args:
        uri: ``file:///abs/key.pem`` or a path.
        passphrase: Gives the passphrase when the environment does not have it.

    Raises:
        UsageError: No such file, others can read it, the passphrase is missing or
            wrong, or it is not such a key.
    """

    scheme: ClassVar[str] = "file"

    def __init__(self, uri: str, *, passphrase: Passphrase | None = None) -> None:
        self._path = _path_of(uri)
        self._key = _load(_read_private(self._path), self._path, passphrase)
        try:
            self._public = public_key_of(self._key.public_key())
        except MalformedError as error:
            raise UsageError(f"{self._path}: {error.what}", hint=error.hint) from error

    def sign(self, data: bytes) -> bytes:
        """Signature over ``data``: DER ECDSA with the curve's SHA-2, or raw Ed25519."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        return self._key.sign(data, ec.ECDSA(curve_hash(self._key.public_key())))

    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM, 64-column lines, LF, final newline."""
        return self._public.pem


def new_key(
    path: Path, *, algorithm: Algorithm = "p256", passphrase: str | None = None
) -> PublicKey:
    """Make a key: ``path`` (PKCS8 PEM, mode 0600) and ``<path>.pub`` beside it.

    Raises:
        UsageError: One of the two files exists, cannot be written, or the
            passphrase or algorithm cannot be used.
    """
    if algorithm not in get_args(Algorithm):
        raise UsageError(f"no such key algorithm: {algorithm!r}", hint="use p256 or ed25519")
    if passphrase == "":
        raise UsageError("an empty passphrase protects nothing", hint="leave it out, or give one")
    key: _PrivateKey = (
        ed25519.Ed25519PrivateKey.generate()
        if algorithm == "ed25519"
        else ec.generate_private_key(_CURVES[algorithm])
    )
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase is not None
        else serialization.NoEncryption()
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    public = public_key_of(key.public_key())
    beside = public_path(path)
    # The public half first: a name taken there must not leave a private key behind.
    _write_new(beside, public.pem, 0o644)
    try:
        _write_new(path, private, 0o600)
    except UsageError:
        beside.unlink()
        raise
    return public


def public_path(path: Path) -> Path:
    """Where the public half of the key file ``path`` lies: ``<path>.pub``."""
    return path.with_name(path.name + ".pub")


def _path_of(uri: str) -> Path:
    if not uri.startswith("file://"):
        return Path(uri)
    if not uri.startswith("file:///"):
        raise UsageError(f"a file URL has no host: {uri!r}", hint="write file:///abs/key.pem")
    return Path(unquote(uri.removeprefix("file://")))


def _read_private(path: Path) -> bytes:
    try:
        # Not blocking: a FIFO under this name must not hang us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise UsageError(
            f"no key file {path}", hint=f"make one with: manifestd key new {path}"
        ) from error
    except OSError as error:
        raise UsageError(f"key file {path} cannot be opened: {error.strerror}") from error
    try:
        _check_private(os.fstat(descriptor), path)
        data = os.read(descriptor, MAX_PEM + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_PEM:
        raise UsageError(f"{path} is too large for a key")
    return data


def _check_private(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not a file, so it cannot be a key")
    if status.st_mode & 0o077:
        raise UsageError(
            f"key file {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            why="whoever reads it can sign in your name",
            hint=f"chmod 600 {path}",
        )


def _load(data: bytes, path: Path, passphrase: Passphrase | None) -> _PrivateKey:
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError:
        # The library's way to say that the key is encrypted.
        key = _load_encrypted(data, path, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a private key in PEM form") from error
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise UsageError(
        f"the key in {path} is neither ECDSA nor Ed25519",
        hint="make one with: manifestd key new PATH",
    )


def _load_encrypted(data: bytes, path: Path, ask: Passphrase | None) -> PrivateKeyTypes:
    from_environment = os.environ.get(PASSPHRASE_VARIABLE)
    passphrase = from_environment.encode() if from_environment else (ask() if ask else None)
    if not passphrase:
        raise UsageError(
            f"the key in {path} is encrypted and there is no passphrase",
            hint=f"set {PASSPHRASE_VARIABLE}, or run it on a terminal",
        )
    try:
        return serialization.load_pem_private_key(data, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"the passphrase does not open the key in {path}",
            hint=f"type it again, or correct {PASSPHRASE_VARIABLE}",
        ) from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists and is never overwritten", hint="choose another name"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:  # a full disk shows only now
        path.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
