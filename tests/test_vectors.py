"""The product makes of every vector's input exactly the vector's output, and refuses the invalid ones.

The files were written without manifestd (tests/vectors/v1/make.py): agreement here
is agreement with another implementation.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from manifestd import canonical
from manifestd.errors import EmptySourceError, MalformedError, ManifestdError
from manifestd.model.envelope import Bundle, decode_base64, pre_authentication_encoding
from manifestd.model.manifest import Item, decode_manifest, encode_manifest, manifest_digest
from manifestd.model.snapshot import Snapshot
from manifestd.model.statement import Statement
from tests.support.schemas import check_document
from tests.vectors.v1 import make

HERE: Final = Path(__file__).parent / "vectors" / "v1"
INDEX: Final[dict[str, list[dict[str, Any]]]] = json.loads((HERE / "index.json").read_bytes())


def rows(kind: str) -> pytest.MarkDecorator:
    """Parametrize over one list of the index, each case under its name."""
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=row["name"]) for row in INDEX[kind]]
    )


def read(name: str) -> bytes:
    """The bytes of one vector file."""
    return (HERE / name).read_bytes()


def tree(row: dict[str, Any]) -> list[Item]:
    """The files of a tree, measured and put in path order."""
    items = []
    for file in json.loads(read(row["files"])):
        content = base64.b64decode(file["base64"])
        items.append(Item(file["path"], len(content), hashlib.sha256(content).hexdigest()))
    return sorted(items, key=lambda item: item.path.encode())


@rows("manifests")
def test_a_tree_gives_the_bytes_and_digest_of_its_manifest(row: dict[str, Any]) -> None:
    items = tree(row)
    data = b"".join(encode_manifest(items))
    assert data == read(row["manifest"])
    assert manifest_digest(items) == row["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()


@rows("manifests")
def test_a_manifest_gives_back_its_files_and_fits_its_schema(row: dict[str, Any]) -> None:
    data = read(row["manifest"])
    assert decode_manifest(data) == tree(row)
    check_document("manifest", data)


@rows("noManifest")
def test_a_tree_that_has_no_manifest_gets_none(row: dict[str, Any]) -> None:
    with pytest.raises((MalformedError, EmptySourceError)):
        manifest_digest(tree(row))


def test_a_manifest_does_not_depend_on_the_order_in_which_files_were_found() -> None:
    for row in INDEX["manifests"]:
        items = tree(row)
        random.Random(7).shuffle(items)
        items.sort(key=lambda item: item.path.encode())
        assert manifest_digest(items) == row["digest"]


@rows("records")
def test_a_record_decodes_and_encodes_to_its_bytes(row: dict[str, Any]) -> None:
    data = read(row["record"])
    record = canonical.decode(data, Snapshot)
    assert canonical.encode(record) == data
    assert canonical.digest_of(record) == row["digest"]
    check_document("snapshot", data)


@rows("bundles")
def test_a_bundle_holds_the_statement_about_its_record(row: dict[str, Any]) -> None:
    bundle = canonical.decode(read(row["bundle"]), Bundle)
    payload = decode_base64(bundle.dsse_envelope.payload)
    assert payload == read(row["statement"])
    statement = canonical.decode(payload, Statement)
    record = json.loads(read(row["record"]))
    named = {subject.name: "sha256:" + subject.digest["sha256"] for subject in statement.subject}
    expected = {"snapshot": "sha256:" + hashlib.sha256(read(row["record"])).hexdigest()}
    if record["manifest"]:
        expected["manifest"] = record["manifest"]
    assert named == expected
    assert all(record[name] == value for name, value in statement.predicate.items())
    check_document("bundle", read(row["bundle"]))
    check_document("statement", payload)


@rows("bundles")
def test_a_bundle_is_signed_over_its_pre_authentication_encoding(row: dict[str, Any]) -> None:
    envelope = canonical.decode(read(row["bundle"]), Bundle).dsse_envelope
    message = pre_authentication_encoding(envelope.payload_type, decode_base64(envelope.payload))
    assert message == read(row["preAuthenticationEncoding"])
    signature = base64.b64decode(envelope.signatures[0].sig)
    key = load_pem_public_key(read(row["key"]))
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


@rows("invalid")
def test_an_invalid_document_is_refused(row: dict[str, Any]) -> None:
    readers: dict[str, Callable[[bytes], object]] = {
        "manifest": decode_manifest,
        "snapshot": lambda data: canonical.decode(data, Snapshot),
    }
    with pytest.raises(ManifestdError) as caught:
        readers[row["kind"]](read(row["file"]))
    assert caught.value.code == row["error"], caught.value.what
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row["name"]) for row in INDEX["invalid"] if row["seenBy"] == "shape"],
)
def test_a_schema_refuses_what_has_the_wrong_shape(row: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=f"not a {row['kind']} document"):
        check_document(row["kind"], read(row["file"]))


def test_every_vector_has_a_row_in_the_readme_and_every_file_a_vector() -> None:
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    for kind in ("manifests", "noManifest", "records", "bundles", "invalid"):
        for row in INDEX[kind]:
            assert f"| `{row['name']}` | {row['shows']} |" in readme
    named = {
        value
        for kind in INDEX.values()
        for row in kind
        for value in row.values()
        if (HERE / value).is_file()
    }
    folders = ("manifests", "records", "statements", "bundles", "invalid", "keys")
    present = {
        str(path.relative_to(HERE)) for folder in folders for path in (HERE / folder).iterdir()
    }
    assert present - named - {"statements/without-revision.json"} == set()


def test_vectors_on_disk_are_those_the_maker_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "readme-head.md").write_bytes(read("readme-head.md"))
    (tmp_path / "bundles").mkdir()
    for path in (HERE / "bundles").iterdir():  # random signatures are kept from these
        (tmp_path / "bundles" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main()
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == read(str(path.relative_to(tmp_path))), path.name
