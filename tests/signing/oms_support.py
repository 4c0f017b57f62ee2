"""The reference implementation of OpenSSF model signing, run as its users run it."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from manifestd.model.envelope import pre_authentication_encoding
from manifestd.model.media_types import IN_TOTO
from manifestd.signing.file import FileSigner

MODEL: dict[str, bytes] = {
    ".gitattributes": b"*.bin filter=lfs\n",
    "config.json": b'{"a": 1}',
    "README.md": b"# M\n",
    "empty.txt": b"",
    "onnx-fp16.txt": b"sorts between by parts and by bytes",
    "onnx/model.onnx": b"\x08\x07",
    "onnx/deep/er/weights.bin": b"w" * 5000,
    "caf\u00e9/\u65e5\u672c.txt": b"unicode",
    "sub/.gitattributes": b"nested ones are signed",
    "back\\slash.txt": b"an ordinary character",
    "with space.txt": b"too",
    "a:1:2": b"looks like a shard",
}


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def sign(model: Path, signature: Path, key: Path, *more: str) -> bytes:
    done = model_signing(
        "sign", "key", model, "--private_key", key, "--signature", signature, *more
    )
    assert done.returncode == 0, done.stderr
    return signature.read_bytes()


def accepts(model: Path, signature: Path, key: Path, *more: str) -> bool:
    done = model_signing(
        "verify", "key", model, "--signature", signature, "--public_key", key, *more
    )
    return done.returncode == 0 and "Verification succeeded" in done.stdout + done.stderr


def bundle(payload: Mapping[str, Any], signer: FileSigner, **changed: Any) -> bytes:
    """A bundle as another implementation may write it: signed right, spelled freely."""
    body = json.dumps(payload, indent=2).encode()
    signature = signer.sign(pre_authentication_encoding(IN_TOTO, body))
    document: dict[str, Any] = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(body).decode(),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(document | changed).encode()


def payload_of(signature: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"])
    )
    return found


def statement(
    resources: list[tuple[str, str]],
    *,
    method: str = "files",
    hash_type: str = "sha256",
    algorithm: str | None = None,
    ignore: list[str] | None = None,
    root: str | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """A payload over (name, digest) pairs, its root right unless another is given."""
    raw = b"".join(bytes.fromhex(digest) for _, digest in resources)
    serialization: dict[str, Any] = {"method": method, "hash_type": hash_type}
    if ignore is not None:
        serialization["ignore_paths"] = ignore
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root or hashlib.sha256(raw).hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": serialization,
            "resources": [
                {"name": name, "algorithm": algorithm or hash_type, "digest": digest}
                for name, digest in resources
            ],
        },
    } | changed


def pairs(
    files: Mapping[str, bytes], hasher: Callable[[bytes], str] | None = None
) -> list[tuple[str, str]]:
    digest = hasher or (lambda data: hashlib.sha256(data).hexdigest())
    return [(path, digest(data)) for path, data in sorted(files.items())]
