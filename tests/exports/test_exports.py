"""Snapshots in other tools' formats, read by those tools: from digests alone, no model bytes there."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from manifestd.cli.main import run
from manifestd.errors import MissingExtraError, UsageError
from manifestd.exports import EXPORTS
from manifestd.model.entry import Problem
from manifestd.model.manifest import decode_manifest
from manifestd.signing.file import FileSigner, new_key
from manifestd.store import Store, open_store
from manifestd.workflows.exports import export_snapshot
from manifestd.workflows.oms import sign_as_oms
from manifestd.workflows.sign import sign_snapshot
from tests.support.trees import write_tree
from tests.workflows.stored import keep, listed_file

MODEL: dict[str, bytes] = {
    ".gitattributes": b"*.bin filter=lfs\n",
    "LICENSE": b"MIT",
    "README.md": b"# M\n",
    "back\\slash.txt": b"b",
    "carriage\rreturn": b"r",
    "caf\u00e9/\u65e5\u672c 1%.txt": b"u",
    "config.json": b'{"a": 1}',
    "copy.bin": b"w" * 50,
    "empty": b"",
    "model.safetensors.bin": b"w" * 50,
    "modeling.py": b"pass\n",
    "new\nline": b"n",
    "onnx/model.onnx": b"\x08\x07",
    "tokenizer.json": b"{}",
}
COMMIT = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
PLACE: dict[str, Any] = {
    "name": "org/Model",
    "source": "hf://org/Model",
    "revision": COMMIT,
    "facts": {"license": "mit"},
}

Export = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "store.db", write=True) as opened:
        yield opened


@pytest.fixture
def export(store: Store, tmp_path: Path) -> Export:
    def exported(form: str, files: Any = MODEL, *, key: str | None = None, **more: Any) -> Path:
        digest = keep(store, files, **{**PLACE, **more})
        if key is not None:
            if not (tmp_path / f"{key}.pem").exists():
                new_key(tmp_path / f"{key}.pem", algorithm=key)  # type: ignore[arg-type]
            signer = FileSigner(str(tmp_path / f"{key}.pem"))
            store.snapshots.attach(
                digest, sign_snapshot(store.snapshots.load(digest), digest, signer)
            )
        target = tmp_path / f"out-{form}"
        export_snapshot(store, digest, form, target)
        return target

    return exported


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def check(listing: Path, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", listing],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_coreutils_check_the_list_whatever_the_names(export: Export, tmp_path: Path) -> None:
    listing = export("sha256sum")
    model = write_tree(tmp_path / "m", MODEL)
    assert check(listing, model) == (0, "")
    (model / "new\nline").write_bytes(b"x")
    code, told = check(listing, model)
    assert code == 1
    assert "FAILED" in told


def test_the_digest_of_the_list_is_the_dir_hash_that_coreutils_give(
    export: Export, tmp_path: Path
) -> None:
    files = {p: d for p, d in MODEL.items() if not {"\n", "\r", "\\"} & set(p)}
    listing = export("sha256sum", files)
    model = write_tree(tmp_path / "m", files)
    # In-toto's dirHash (Go's Hash1), by the command of the documentation.
    command = "find . -type f | cut -c3- | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0r sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", command], cwd=model, capture_output=True, check=True)
    assert done.stdout.split()[0].decode() == sha256(listing.read_bytes())
    bill = json.loads(export("cyclonedx", files).read_bytes())
    properties = {p["name"]: p["value"] for p in bill["metadata"]["component"]["properties"]}
    assert properties["manifestd:dirHash"] == sha256(listing.read_bytes())


def test_a_bag_is_complete_and_valid_once_its_payload_lies_in_it(export: Export) -> None:
    bag = export("bagit")
    write_tree(bag / "data", MODEL)
    assert (bag / "bagit.txt").read_bytes() == (
        b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    )
    listed = {}
    for line in (bag / "manifest-sha256.txt").read_text("utf-8").split("\n")[:-1]:
        digest, _, path = line.partition(" ")
        # RFC 8493 section 2.1.3: these three are percent-encoded, and nothing else is.
        listed[path.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")] = digest
    assert listed == {f"data/{path}": sha256(data) for path, data in MODEL.items()}
    info = dict(line.split(": ", 1) for line in (bag / "bag-info.txt").read_text().splitlines())
    assert info["Payload-Oxum"] == f"{sum(map(len, MODEL.values()))}.{len(MODEL)}"
    for line in (bag / "tagmanifest-sha256.txt").read_text().splitlines():
        digest, name = line.split(" ")
        assert sha256((bag / name).read_bytes()) == digest


def test_the_bill_of_materials_is_one_by_its_own_schema_and_names_the_hub_revision(
    export: Export,
) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    data = export("cyclonedx").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data) is None
    bill = json.loads(data)
    model = bill["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["purl"] == f"pkg:huggingface/org/Model@{COMMIT}"
    assert model["licenses"] == [{"license": {"name": "mit"}}]
    hashes = {item["name"]: item["hashes"][0] for item in bill["components"]}
    assert hashes == {
        path: {"alg": "SHA-256", "content": sha256(content)} for path, content in MODEL.items()
    }


def test_the_bill_of_a_bucket_has_no_package_url_and_the_same_bytes_each_time(
    export: Export, tmp_path: Path
) -> None:
    first = export("cyclonedx", source="s3://b/p/", revision=None).read_bytes()
    assert "purl" not in json.loads(first)["metadata"]["component"]
    (tmp_path / "out-cyclonedx").unlink()
    assert export("cyclonedx", source="s3://b/p/", revision=None).read_bytes() == first


# model-spec 0.0.7, schema/config-schema.json and schema/manifest-schema.json, as far as they bind us.
CONFIG_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["descriptor", "config", "modelfs"],
    "properties": {
        "descriptor": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "createdAt": {"type": "string", "format": "date-time"},
                "authors": {"type": "array", "items": {"type": "string"}},
                "family": {"type": "string"}, "name": {"type": "string", "minLength": 1},
                "docURL": {"type": "string"}, "sourceURL": {"type": "string"},
                "datasetsURL": {"type": "array", "items": {"type": "string"}},
                "version": {"type": "string"}, "revision": {"type": "string"},
                "vendor": {"type": "string"}, "title": {"type": "string"},
                "licenses": {"type": "array", "items": {"type": "string"}},
                "description": {"type": "string"},
            },
        },
        "config": {"type": "object"},
        "modelfs": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "diffIds"],
            "properties": {
                "type": {"enum": ["layers"]},
                "diffIds": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            },
        },
    },
}  # fmt: skip


def test_a_model_pack_has_raw_layers_that_are_the_files(export: Export) -> None:
    folder = export("modelpack")
    config, manifest = (folder / name for name in ("config.json", "manifest.json"))
    document = json.loads(manifest.read_bytes())
    jsonschema.validate(json.loads(config.read_bytes()), CONFIG_SCHEMA)
    assert document["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert document["config"] == {
        "mediaType": "application/vnd.cncf.model.config.v1+json",
        "digest": "sha256:" + sha256(config.read_bytes()),
        "size": config.stat().st_size,
    }
    layers = {
        layer["annotations"]["org.cncf.model.filepath"]: layer for layer in document["layers"]
    }
    assert {path: (item["digest"], item["size"]) for path, item in layers.items()} == {
        path: ("sha256:" + sha256(data), len(data)) for path, data in MODEL.items()
    }
    kinds = {path: item["mediaType"].split(".")[3:-2] for path, item in layers.items()}
    assert kinds["config.json"] == ["weight", "config"]
    assert kinds["modeling.py"] == ["code"]
    assert kinds["onnx/model.onnx"] == ["weight"]
    assert kinds["LICENSE"] == ["doc"]
    found = json.loads(config.read_bytes())
    assert found["modelfs"]["diffIds"] == [layer["digest"] for layer in document["layers"]]
    assert found["descriptor"] == {
        "name": "org/Model", "revision": COMMIT, "licenses": ["mit"],
        "sourceURL": "https://huggingface.co/org/Model",
    }  # fmt: skip


def test_a_model_pack_that_no_registry_would_take_is_refused(export: Export) -> None:
    many = {f"{number:05}-{'x' * 200}": b"" for number in range(12_000)}
    with pytest.raises(UsageError, match="4 MiB"):
        export("modelpack", many)


def blob(layout: Path, digest: str) -> bytes:
    algorithm, _, value = digest.partition(":")
    return (layout / "blobs" / algorithm / value).read_bytes()


def test_a_layout_holds_the_manifest_and_its_signatures_as_referrers(export: Export) -> None:
    layout = export("oci-layout", key="p256")
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout / "index.json").read_bytes())
    for path in (layout / "blobs" / "sha256").iterdir():
        assert sha256(path.read_bytes()) == path.name
    [manifest, referrer] = index["manifests"]
    for entry in (manifest, referrer):
        data = blob(layout, entry["digest"])
        assert len(data) == entry["size"]
        assert json.loads(data)["artifactType"] == entry["artifactType"]
    assert manifest["annotations"]["dev.manifestd.sparse"] == "true"
    items = decode_manifest(blob(layout, manifest["digest"]))
    assert {item.path: item.sha256 for item in items} == {p: sha256(d) for p, d in MODEL.items()}
    attached = json.loads(blob(layout, referrer["digest"]))
    assert attached["subject"]["digest"] == manifest["digest"]
    [layer] = attached["layers"]
    title = layer["annotations"]["org.opencontainers.image.title"]
    assert title == f"sha256-{layer['digest'][7:]}.sigstore.json"
    assert json.loads(blob(layout, layer["digest"]))["dsseEnvelope"]
    assert attached["annotations"]["dev.sigstore.bundle.content"] == "dsse-envelope"
    assert attached["annotations"]["org.opencontainers.image.created"] == "2026-03-01T10:00:00Z"


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_the_sparse_layout_and_refuses_to_copy_it(
    export: Export, tmp_path: Path
) -> None:
    layout = export("oci-layout", {"config.json": b"[]"}, key="p256")

    def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, check=False
        )

    done = skopeo("inspect", "--raw", f"oci:{layout}:snapshot")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifactType"] == "application/vnd.manifestd.manifest.v1"
    done = skopeo("copy", f"oci:{layout}:snapshot", f"oci:{tmp_path / 'copy'}")
    assert done.returncode != 0
    assert "no such file" in done.stderr


def test_the_manifest_has_the_manifest_digest(export: Export, store: Store) -> None:
    data = export("manifest").read_bytes()
    assert store.snapshots.list()[0].manifest == "sha256:" + sha256(data)


@pytest.mark.parametrize("algorithm", ["p256", "p384", "p521", "ed25519"])
def test_other_verifiers_accept_the_signatures(
    export: Export, tmp_path: Path, algorithm: str
) -> None:
    folder = export("dsse", key=algorithm)
    public = tmp_path / f"{algorithm}.pem.pub"
    key = SSlibKey.from_crypto(load_pem_public_key(public.read_bytes()))
    envelope = Envelope.from_dict(json.loads((folder / "signature-1.dsse.json").read_bytes()))
    assert envelope.verify([key], threshold=1)
    pae = export("pae", key=algorithm)
    assert openssl(algorithm, public, pae / "sig.bin", pae / "pae.bin")
    (pae / "pae.bin").write_bytes((pae / "pae.bin").read_bytes() + b" ")
    assert not openssl(algorithm, public, pae / "sig.bin", pae / "pae.bin")


def openssl(algorithm: str, public: Path, signature: Path, data: Path) -> bool:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    if algorithm == "ed25519":
        command = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", data,
                   "-sigfile", signature]  # fmt: skip
    else:
        hashed = {"p256": "-sha256", "p384": "-sha384", "p521": "-sha512"}[algorithm]
        command = ["dgst", hashed, "-verify", public, "-signature", signature, data]
    done = subprocess.run(["openssl", *map(str, command)], capture_output=True, check=False)
    return done.returncode == 0


def test_every_signature_of_a_snapshot_is_exported(export: Export, store: Store) -> None:
    export("manifest", key="p384")
    assert sorted(path.name for path in export("pae", key="p256").iterdir()) == [
        "pae-2.bin", "pae.bin", "sig-2.bin", "sig.bin",
    ]  # fmt: skip


def test_an_unsigned_snapshot_has_no_signature_to_export(export: Export, tmp_path: Path) -> None:
    for form in ("dsse", "pae"):
        with pytest.raises(UsageError, match="unsigned"):
            export(form)
    assert not list(tmp_path.glob("out-*")) + list(tmp_path.glob(".manifestd-*"))


@pytest.mark.parametrize("revision", [COMMIT, None])
def test_a_warehouse_reads_the_table(export: Export, revision: str | None) -> None:
    import duckdb

    table = export("parquet", revision=revision)
    with duckdb.connect() as database:
        rows = database.execute(
            "SELECT path, size, sha256, source, revision FROM read_parquet(?)", [str(table)]
        ).fetchall()
    assert rows == [
        (path, len(data), sha256(data), "hf://org/Model", revision)
        for path, data in sorted(MODEL.items())
    ]


@pytest.mark.parametrize("form", EXPORTS.members)
def test_an_incomplete_snapshot_is_never_exported(export: Export, form: str) -> None:
    weak = listed_file("a.bin", b"a", {"md5": "stored"})
    with pytest.raises(UsageError, match="incomplete"):
        export(form, {**MODEL, "a.bin": weak})
    gone = Problem(path="b.bin", code="unreadable", what="cannot be read", severity="error")
    with pytest.raises(UsageError, match="incomplete") as caught:
        export(form, MODEL, problems=[gone])
    assert "its list is not the whole" in (caught.value.why or "")


@pytest.mark.parametrize("form", EXPORTS.members)
def test_a_file_that_is_there_stays_as_it_is(export: Export, form: str, tmp_path: Path) -> None:
    target = tmp_path / f"out-{form}"
    target.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        export(form, key="p256")
    assert target.read_bytes() == b"mine"


def test_an_unknown_format_is_named_with_those_there_are(export: Export) -> None:
    with pytest.raises(UsageError) as refused:
        export("zip")
    assert not isinstance(refused.value, MissingExtraError)
    assert "sha256sum" in f"{refused.value.what} {refused.value.hint}"


def test_what_the_configured_key_signed_is_verified_by_the_keys_that_count_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "m", MODEL)
    assert run(["init"]) == 0
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    assert run(["export", "m", "--as", "oms", "-o", "model.sig"]) == 0
    capsys.readouterr()
    assert run(["oms", "verify", "model.sig", "m"]) == 0
    assert capsys.readouterr().out.startswith("VERIFIED by the key ")
    configuration = tmp_path / "manifestd.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace('may = ["snapshot", "tag"]', 'may = ["tag"]'))
    assert run(["oms", "verify", "model.sig", "m"]) == 4
    assert "it may tag, not snapshot" in capsys.readouterr().out


def test_the_commands_write_and_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a directory to a signature and back, by command; the directory is gone meanwhile."""
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "m", MODEL)
    new_key(tmp_path / "publisher.pem")
    assert run(["-q", "snapshot", "dir", "m", "--no-sign"]) == 0
    shutil.move("m", "gone")
    assert run(["export", "m", "--as", "oms", "--key", "publisher.pem", "-o", "model.sig"]) == 0
    check = ["oms", "verify", "model.sig", "m", "--key", "publisher.pem.pub"]
    capsys.readouterr()
    assert run(check) == 0
    told = capsys.readouterr().out
    assert told.startswith("VERIFIED by the key ")
    assert "present, but not covered by the signature: .gitattributes" in told
    assert run(["export", "m", "--as", "sha256sum", "-o", "SUMS"]) == 0
    assert run(["export", "m", "--as", "oci-layout", "-o", "layout"]) == 0
    assert "sparse" in capsys.readouterr().err
    for wrong in (
        ["export", "m", "--as", "sha256sum", "-o", "SUMS"],
        ["export", "m", "--as", "sha256sum", "--key", "publisher.pem", "-o", "x"],
        ["export", "m", "m", "--as", "bagit", "-o", "x"],
        ["export", "m", "--as", "oms", "-o", "x"],
        ["export", "m", "--as", "oms", "--key", "publisher.pem", "-o", "model.sig"],
        [*check[:5], "publisher.pem"],
    ):
        assert run(wrong) == 2, wrong
    assert run(check) == 0
    new_key(tmp_path / "other.pem")
    capsys.readouterr()
    assert run([*check[:5], "other.pem.pub"]) == 4
    assert "as signed" not in capsys.readouterr().out
    # Without a key those of the configuration count, and here there is none.
    assert run(check[:4]) == 4
    assert "not trusted" in capsys.readouterr().out
    (tmp_path / "gone" / "config.json").write_bytes(b"{}")
    assert run(["-q", "snapshot", "dir", "gone", "--no-sign"]) == 0
    capsys.readouterr()
    assert run([*check[:3], "gone", *check[4:], "--format", "json"]) == 4
    assert json.loads(capsys.readouterr().out)["outcome"]["changed"] == ["config.json"]


def test_the_signature_is_over_what_the_statement_says(store: Store, tmp_path: Path) -> None:
    new_key(tmp_path / "k.pem")
    digest = keep(store, {"a": b"1"}, **PLACE)
    signature = json.loads(sign_as_oms(store, digest, FileSigner(str(tmp_path / "k.pem")), ()))
    payload = json.loads(base64.b64decode(signature["dsseEnvelope"]["payload"]))
    assert payload["predicate"]["resources"] == [
        {"name": "a", "algorithm": "sha256", "digest": sha256(b"1")}
    ]
