"""Writes the vectors: ``python -m tests.vectors.v1.make``.

Nothing of manifestd is imported here: canonical bytes come from the rfc8785
library, digests from hashlib, signatures from cryptography. What the product
makes of the inputs is compared with these files by ``tests/test_vectors.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final, cast

import rfc8785
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.vectors.v1.invalid import invalid_documents

HERE: Final = Path(__file__).parent

EMPTY: Final = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:" + hashlib.sha256(b"{}").hexdigest(),
    "size": 2,
}

TREES: Final[dict[str, tuple[str, list[tuple[str, bytes]]]]] = {
    "one-empty-file": ("an empty file is a file", [("empty.bin", b"")]),
    "small-model": (
        "what a small model looks like; one directory",
        [
            ("model.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "),
            ("config.json", b'{"model_type": "gpt2"}\n'),
            ("README.md", b"---\nlicense: mit\n---\n# Tiny\n"),
            ("onnx/model.onnx", b"\x08\x07"),
        ],
    ),
    "same-bytes-twice": (
        "two files of equal content are two layers with one digest",
        [("b.json", b"{}"), ("a.json", b"{}")],
    ),
    "order-of-bytes-not-of-parts": (
        "`-`, `.` and a space sort before `/`, digits and letters after it",
        [(path, path.encode()) for path in
         ("a/x", "a", "a-b", "a.b", "a b", "a0", "aa", "a/", "A", "a//x", "Z", "~", "_")],
    ),
    "order-of-utf-8-not-of-utf-16": (
        "U+FF5E sorts before U+1F600 in UTF-8, after it in UTF-16",
        [(path, path.encode()) for path in
         ("\U0001f600.txt", "\uff5e.txt", "\ud7ff.txt", "\ue000.txt", "\U0010ffff.txt", "z.txt")],
    ),
    "two-normal-forms": (
        "NFC and NFD names are two files; nothing is normalised",
        [("caf\u00e9.txt", b"composed"), ("cafe\u0301.txt", b"decomposed")],
    ),
    "equal-but-for-case": (
        "names equal under case folding are different files",
        [("README.md", b"1"), ("readme.md", b"2"), ("Readme.md", b"3"), ("stra\u00dfe", b"4"),
         ("strasse", b"5"), ("STRASSE", b"6")],
    ),
    "characters-that-json-escapes": (
        "the seven short escapes, other controls as \\u00xx in lower case, nothing else escaped",
        [(f"{number:02x}-{chr(number)}", b"") for number in range(0x20)]
        + [('quote"', b""), ("back\\slash", b""), ("delete\x7f", b""), ("line\u2028", b""),
           ("<&>'", b""), ("next\u0085line", b""), ("bidi\u202egnp.exe", b""), ("bom\ufeff", b"")],
    ),
    "dots-and-slashes": (
        "paths are kept literally, also those that must never become local paths",
        [(path, b"x") for path in
         ("..", ".", "../escape", "a/../b", "a/./b", "/absolute", "//host/share", "a//b", "b/",
          "C:\\windows", "~/.ssh/id", "-rf", "CON", "a/b/../../../c")],
    ),
    "a-name-of-1024-bytes": (
        "the longest key S3 allows, in one segment and in many",
        [("n" * 1024, b"one"), ("/".join(["d" * 7] * 128), b"many"), ("\U0001f600" * 256, b"wide")],
    ),
}  # fmt: skip
"""Name -> (what it shows, files in no particular order)."""

NO_MANIFEST: Final[dict[str, tuple[str, list[tuple[str, bytes]]]]] = {
    "no-files": ("nothing can be said about nothing", []),
    "a-path-twice": ("a path names one file", [("a", b"1"), ("b", b"2"), ("a", b"1")]),
    "an-empty-path": ("a file has a name", [("", b"1")]),
}


def record(**changes: Any) -> dict[str, Any]:
    """A complete snapshot record; ``changes`` by member."""
    manifest = manifest_of(TREES["small-model"][1])
    return {
        "schema": "manifestd.snapshot/v1",
        "name": "example/tiny",
        "source": "hf://example/tiny",
        "requested": "main",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "capturedAt": "2026-01-02T03:04:05Z",
        "tool": "manifestd/0.1.0",
        "selection": {"ignore": [], "read": "missing"},
        "manifest": digest(manifest),
        "complete": True,
        "files": 4,
        "bytes": sum(len(content) for _, content in TREES["small-model"][1]),
        "evidence": {"measured": 3, "reused": 0, "stored": 0, "declared": 1, "none": 0},
        "content": digest(b"a content tree that is not part of these vectors"),
        "observation": digest(b"an observation tree that is not part of these vectors"),
        "problems": [],
        "facts": {},
        **changes,
    }


RECORDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "complete": ("a repository whose every sha256 is known", {}),
    "incomplete": (
        "one file could not be read: no manifest, and the record says why",
        {
            "manifest": None,
            "complete": False,
            "evidence": {"measured": 3, "reused": 0, "stored": 0, "declared": 0, "none": 1},
            "problems": [
                {
                    "path": "onnx/model.onnx",
                    "code": "access-denied",
                    "what": "onnx/model.onnx: the store refuses to decrypt it",
                    "hint": "ask for kms:Decrypt on the key",
                },
                {"code": "markers-left-out", "what": "2 directory markers", "severity": "note"},
            ],
        },
    ),
    "without-revision": (
        "a bucket has no revision; facts and ignore globs are filled",
        {
            "source": "s3://models/\u4f8b/tiny\u2028/",
            "requested": None,
            "revision": None,
            "capturedAt": "2026-01-02T03:04:05.123456Z",
            "selection": {"ignore": [".gitattributes", '*."\\\n'], "read": "all"},
            "facts": {"versioning": True, "license": ["mit"], "region": "eu-1", "parts": 3, "x": None},
        },
    ),
}  # fmt: skip


def main() -> None:
    """Write every vector and the index that names them."""
    kept = _kept_signatures()
    for folder in ("manifests", "records", "statements", "bundles", "invalid"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    (HERE / "keys").mkdir(exist_ok=True)
    index = {
        "manifests": [_manifest(name, *tree) for name, tree in TREES.items()],
        "noManifest": [_no_manifest(name, *tree) for name, tree in NO_MANIFEST.items()],
        "records": [_record(name, *item) for name, item in RECORDS.items()],
        "bundles": _bundles(kept),
        "invalid": [_invalid(item) for item in invalid_documents(record())],
    }
    text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
    (HERE / "index.json").write_text(text, encoding="utf-8")
    (HERE / "README.md").write_text(_readme(index), encoding="utf-8")


def _readme(index: dict[str, list[dict[str, Any]]]) -> str:
    """The README: its head from ``readme-head.md``, then a row for each vector."""
    parts = [(HERE / "readme-head.md").read_text(encoding="utf-8")]
    titles = {
        "manifests": "Trees and their manifests",
        "noManifest": "Trees that have no manifest",
        "records": "Snapshot records",
        "bundles": "Statements and bundles",
        "invalid": "Documents to refuse",
    }
    for kind, title in titles.items():
        parts.append(f"\n## {title}\n\n| vector | shows |\n|---|---|\n")
        parts.extend(f"| `{row['name']}` | {row['shows']} |\n" for row in index[kind])
    return "".join(parts)


def canonical(document: Any) -> bytes:
    """RFC 8785 bytes, by the independent library."""
    return rfc8785.dumps(document)


def digest(data: bytes) -> str:
    """``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def manifest_of(files: list[tuple[str, bytes]]) -> bytes:
    """The manifest's bytes, written out from the rules of docs/format/v1.md section 3."""
    layers = [
        {
            "mediaType": "application/octet-stream",
            "digest": digest(content),
            "size": len(content),
            "annotations": {"org.opencontainers.image.title": path},
        }
        for path, content in sorted(files, key=lambda item: item[0].encode())
    ]
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.manifestd.manifest.v1",
            "config": EMPTY,
            "layers": layers,
        }
    )


def _manifest(name: str, shows: str, files: list[tuple[str, bytes]]) -> dict[str, Any]:
    _write_input(name, files)
    data = manifest_of(files)
    (HERE / f"manifests/{name}.manifest.json").write_bytes(data)
    return {
        "name": name,
        "shows": shows,
        "files": f"manifests/{name}.files.json",
        "manifest": f"manifests/{name}.manifest.json",
        "digest": digest(data),
    }


def _no_manifest(name: str, shows: str, files: list[tuple[str, bytes]]) -> dict[str, Any]:
    _write_input(name, files)
    return {"name": name, "shows": shows, "files": f"manifests/{name}.files.json"}


def _write_input(name: str, files: list[tuple[str, bytes]]) -> None:
    listed = [
        {"path": path, "base64": base64.b64encode(content).decode()} for path, content in files
    ]
    text = json.dumps(listed, indent=1, ensure_ascii=True) + "\n"
    (HERE / f"manifests/{name}.files.json").write_text(text, encoding="ascii")


def _record(name: str, shows: str, changes: dict[str, Any]) -> dict[str, Any]:
    data = canonical(record(**changes))
    (HERE / f"records/{name}.json").write_bytes(data)
    return {
        "name": name,
        "shows": shows,
        "record": f"records/{name}.json",
        "digest": digest(data),
    }


def _statement(name: str) -> bytes:
    body = json.loads((HERE / f"records/{name}.json").read_bytes())
    subjects = [{"name": "snapshot", "digest": {"sha256": _hex(canonical(body))}}]
    if body["manifest"]:
        hexed = body["manifest"].partition(":")[2]
        subjects.insert(0, {"name": "manifest", "digest": {"sha256": hexed}})
    members = (
        "source",
        "requested",
        "revision",
        "capturedAt",
        "complete",
        "files",
        "bytes",
        "tool",
    )
    return canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://manifestd.dev/predicate/snapshot/v1",
            "predicate": {member: body[member] for member in members},
        }
    )


def _bundles(kept: dict[bytes, bytes]) -> list[dict[str, Any]]:
    """ECDSA signatures are random: one made before is kept while what it signs is the same."""
    rows = []
    p256 = ec.derive_private_key(int.from_bytes(hashlib.sha256(b"manifestd vectors v1").digest()),
                                 ec.SECP256R1())  # fmt: skip
    edwards = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"manifestd vectors v1").digest())
    for name in RECORDS:
        (HERE / f"statements/{name}.json").write_bytes(_statement(name))
    for name, record_name, key_name, shows in (
        ("p256-complete", "complete", "p256", "two subjects, signed with the default kind of key"),
        ("p256-incomplete", "incomplete", "p256", "no manifest: one subject"),
        ("ed25519-complete", "complete", "ed25519", "the same statement, signed with Ed25519"),
    ):
        payload = (HERE / f"statements/{record_name}.json").read_bytes()
        message = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
        private = p256 if key_name == "p256" else edwards
        public = private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (HERE / f"keys/{key_name}.pub").write_bytes(pem)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            signature = kept.get(message) or private.sign(message, ec.ECDSA(hashes.SHA256()))
            keyid = _key_id("ecdsa", "ecdsa-sha2-nistp256", pem.decode())
        else:
            signature = private.sign(message)
            raw = cast("Any", public).public_bytes(Encoding.Raw, PublicFormat.Raw)
            keyid = _key_id("ed25519", "ed25519", raw.hex())
        bundle = canonical(
            {
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {"publicKey": {"hint": _hex(pem)}, "tlogEntries": []},
                "dsseEnvelope": {
                    "payload": base64.b64encode(payload).decode(),
                    "payloadType": "application/vnd.in-toto+json",
                    "signatures": [
                        {"sig": base64.b64encode(signature).decode(), "keyid": keyid},
                    ],
                },
            }
        )
        (HERE / f"bundles/{name}.sigstore.json").write_bytes(bundle)
        (HERE / f"bundles/{name}.pae").write_bytes(message)
        rows.append(
            {
                "name": name,
                "shows": shows,
                "record": f"records/{record_name}.json",
                "statement": f"statements/{record_name}.json",
                "bundle": f"bundles/{name}.sigstore.json",
                "preAuthenticationEncoding": f"bundles/{name}.pae",
                "key": f"keys/{key_name}.pub",
            }
        )
    return rows


def _invalid(row: dict[str, Any]) -> dict[str, Any]:
    path = f"invalid/{row['name']}.json"
    (HERE / path).write_bytes(row.pop("data"))
    return {**row, "file": path}


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _key_id(keytype: str, scheme: str, public: str) -> str:
    """securesystemslib's key id: sha256 over OLPC canonical JSON, where only " and \\ are escaped."""
    text = f'{{"keytype":"{keytype}","keyval":{{"public":"{public}"}},"scheme":"{scheme}"}}'
    return _hex(text.encode())


def _kept_signatures() -> dict[bytes, bytes]:
    """Signed message -> P-256 signature of the bundles on disk."""
    kept = {}
    for path in HERE.glob("bundles/p256-*.pae"):
        bundle = json.loads(path.with_suffix(".sigstore.json").read_bytes())
        signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
        kept[path.read_bytes()] = base64.b64decode(signature)
    return kept


if __name__ == "__main__":
    main()
