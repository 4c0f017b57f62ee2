"""The registry source over Debian's docker-registry; artifacts come from plain HTTP requests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from manifestd.cli.main import run
from manifestd.errors import AmbiguousError, EmptySourceError
from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import tiny_model
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import parse_oci
from manifestd.sources.base import SourceSettings
from manifestd.sources.oci import OciSource
from tests.contracts.source_suite import Place, SourceContract, content, listed
from tests.support.registry import (
    KIT,
    OCI_INDEX,
    OCI_MANIFEST,
    push,
    push_modelkit,
    push_modelpack,
    put_manifest,
    sha256,
    tar_of,
)

pytestmark = pytest.mark.peer

MODEL = tiny_model()
WEIGHTS = {path: data for path, data in MODEL.items() if path.endswith(".safetensors")}
REST = {path: data for path, data in MODEL.items() if path not in WEIGHTS}
ORAS = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"


def source_at(host: str, name: str) -> OciSource:
    settings = SourceSettings(connect_timeout=5, read_timeout=5, retry_budget=1)
    return OciSource(parse_oci(f"oci://{host}/{name}"), settings, environ={})


class RegistryPlace:
    """Files of an artifact, one layer each: raw, or as the only file of an archive."""

    def __init__(self, host: str, form: str) -> None:
        self._host = host
        self._form = form
        self._made = 0

    def make(self, tree: Mapping[str, bytes]) -> OciSource:
        self._made += 1
        name = f"contract/{self._form.replace('+', '-')}{self._made}"
        if self._form == "raw":
            push_modelpack(self._host, name, "v1", tree)
        else:
            data = tar_of(tree)
            packed = gzip.compress(data, 1) if "gzip" in self._form else data
            packed = zstandard.compress(data) if "zstd" in self._form else packed
            kind = f"application/vnd.cncf.model.weight.v1.{self._form}"
            push(self._host, name, "v1", [(packed, kind, {})])
        return source_at(self._host, f"{name}:v1")

    def change(self, path: str, data: bytes) -> None:
        raise NotImplementedError

    def missing(self) -> OciSource:
        return source_at(self._host, "contract/missing:v1")


@pytest.mark.parametrize("form", ["raw", "tar", "tar+gzip", "tar+zstd"])
class TestRegistry(SourceContract):
    changes_show = False  # a digest does not change, and a tag is resolved once

    @pytest.fixture
    def place(self, host: str, form: str) -> Place:
        return RegistryPlace(host, form)


def test_raw_layers_are_files_whose_digest_the_registry_verified(host: str) -> None:
    digest = push_modelpack(host, "acme/raw", "v1", MODEL)
    source = source_at(host, "acme/raw:v1")
    resolved = source.resolve()
    assert (resolved.requested, resolved.revision) == ("v1", digest)
    assert resolved.facts["license"] == "mit"
    assert resolved.facts["modelpack.descriptor.family"] == "gpt2"
    entries = listed(source, resolved)
    for path, data in MODEL.items():
        assert entries[path].digests == {"sha256": sha256(data).removeprefix("sha256:")}
        assert entries[path].evidence == {"sha256": "stored"}
    # One for the manifest, one for the config, one HEAD for each layer: no byte of a file.
    assert source.requests == 2 + len(MODEL)
    assert source.bytes_listed == 0
    source.close()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("tar", [False, True])
def test_a_modelpack_has_the_same_files_in_every_form(
    host: str, tar: bool, legacy: bool
) -> None:  # fmt: skip
    name = f"acme/pack-{tar:d}{legacy:d}"
    push_modelpack(host, name, "v1", MODEL, tar=tar, legacy=legacy)
    assert _files(source_at(host, f"{name}:v1")) == MODEL


@pytest.mark.parametrize(("packing", "old"), [("", False), ("+gzip", True), ("+zstd", False)])
def test_a_modelkit_of_either_generation_has_the_files_of_its_archives(
    host: str, packing: str, old: bool
) -> None:
    pack: Any = {"": bytes, "+gzip": gzip.compress, "+zstd": zstandard.compress}[packing]
    model, rest = tar_of({f"./{path}": data for path, data in WEIGHTS.items()}), tar_of(REST)
    name = f"acme/kit{packing.replace('+', '-')}"
    push_modelkit(host, name, "v1", pack(model), pack(rest), old=old, packing=packing)
    source = source_at(host, f"{name}:v1")
    facts = source.resolve().facts
    assert facts["kitfile.package.name"] == "tiny"
    assert facts["kitfile.package.authors"] == ["a", "b"]
    assert facts["license"] == "MIT"
    assert _files(source) == MODEL


def test_a_modelkit_that_takes_its_model_from_another_says_so(host: str) -> None:
    push_modelkit(host, "acme/other", "v1", b"", tar_of(REST), path="ghcr.io/acme/base:v1")
    (note,) = source_at(host, "acme/other:v1").resolve().notes
    assert note.code == "elsewhere"
    assert "ghcr.io/acme/base:v1" in note.what


def test_plain_files_pushed_by_oras_are_files_whatever_their_type_says(host: str) -> None:
    archive = gzip.compress(b"not to be opened")
    push(host, "acme/oras", "v1", [
        (b"one", ORAS, {TITLE: "one.txt"}),
        (b"two", "text/plain", {TITLE: "sub/two.txt"}),
        (archive, f"{ORAS}+gzip", {TITLE: "data.tar.gz"}),
        (gzip.compress(tar_of({"dir/three.txt": b"three"})), f"{ORAS}+gzip",
         {TITLE: "dir", "io.deis.oras.content.unpack": "true"}),
    ])  # fmt: skip
    assert _files(source_at(host, "acme/oras:v1")) == {
        "one.txt": b"one", "sub/two.txt": b"two", "data.tar.gz": archive, "dir/three.txt": b"three",
    }  # fmt: skip


def test_the_upper_layers_of_an_image_hide_what_is_below(host: str) -> None:
    kind = "application/vnd.oci.image.layer.v1.tar"
    below = tar_of({"models/a": b"old", "models/b": b"b", "tmp/x/y": b"y", "etc/z": b"z"},
                   ("bin/sh", "busybox", b"2"))  # fmt: skip
    above = tar_of(
        {"models/a": b"new", "models/.wh.b": b"", "tmp/.wh..wh..opq": b"", "tmp/n": b"n"}
    )
    push(host, "acme/image", "v1", [(below, kind, {}), (above, kind, {})],
         config=(b"{}", "application/vnd.oci.image.config.v1+json"))  # fmt: skip
    source = source_at(host, "acme/image:v1")
    resolved = source.resolve()
    found = list(source.list(resolved))
    assert {item.path: item.size for item in found if isinstance(item, Entry)} == {
        "models/a": 3, "tmp/n": 1, "etc/z": 1,
    }  # fmt: skip
    (problem,) = [item for item in found if isinstance(item, Problem)]
    assert (problem.code, problem.severity) == ("link", "note")
    source.close()


def test_an_index_of_one_is_followed_and_one_of_several_is_not_guessed(host: str) -> None:
    first = push_modelpack(host, "acme/index", "a", {"a.txt": b"a"})
    second = push_modelpack(host, "acme/index", "b", {"b.txt": b"b"})
    items = [
        {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1,
         "platform": {"os": "linux", "architecture": "arm64"}}
        for digest in (first, second)
    ]  # fmt: skip
    attests = {"vnd.docker.reference.digest": first}
    for tag, manifests in (
        ("one", [items[0], {**items[1], "annotations": attests}]), ("two", items),
    ):  # fmt: skip
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        put_manifest(host, "acme/index", tag, document, OCI_INDEX)
    source = source_at(host, "acme/index:one")
    resolved = source.resolve()
    assert resolved.revision == first
    assert str(resolved.facts["index"]).startswith("sha256:")
    source.close()
    source = source_at(host, "acme/index:two")
    with pytest.raises(AmbiguousError, match="2 manifests") as caught:
        source.resolve()
    assert caught.value.facts["candidates"] == [first, second]
    assert "linux/arm64" in (caught.value.why or "")
    source.close()


def test_a_layer_without_a_name_is_said_to_be_unknown(host: str) -> None:
    push(host, "acme/opaque", "v1", [(b"x", "text/plain", {TITLE: "x"}), (b"???", "a/b", {})])
    source = source_at(host, "acme/opaque:v1")
    found = list(source.list(source.resolve()))
    (problem,) = [item for item in found if isinstance(item, Problem)]
    assert (problem.code, problem.severity) == ("opaque-layer", "error")
    assert sha256(b"???") in problem.what
    source.close()
    push(host, "acme/opaque", "only", [(b"???", "application/octet-stream", {})])
    source = source_at(host, "acme/opaque:only")
    with pytest.raises(EmptySourceError, match="no layer that names a file") as caught:
        list(source.list(source.resolve()))
    assert sha256(b"???") in (caught.value.why or "")
    source.close()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "http_proxy", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANIFESTD_STORE", str(tmp_path / "store.db"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path


def test_what_was_packed_from_the_hub_is_identical_and_a_changed_layer_is_named(
    host: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    push_modelpack(host, "acme/diff", "raw", MODEL)
    push_modelpack(host, "acme/diff", "tar", MODEL, tar=True)
    push_modelkit(host, "acme/diffkit", "v1", tar_of(WEIGHTS), tar_of(REST))
    drift = MODEL | {"config.json": b'{"n": 2}'}
    push_modelpack(host, "acme/drift", "v1", drift)
    with LoopbackHub() as hub:
        hub.add_repo("acme/tiny", MODEL, lfs=set(WEIGHTS))
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        assert run(["snapshot", "hf", "acme/tiny", "--no-sign"]) == 0
    for name in ("diff:raw", "diff:tar", "diffkit:v1", "drift:v1"):
        assert run(["snapshot", "oci", f"oci://{host}/acme/{name}", "--no-sign"]) == 0
    capsys.readouterr()
    for name in ("diff:raw", "diff:tar", "diffkit:v1"):
        assert run(["diff", "hf://acme/tiny", f"oci://{host}/acme/{name}"]) == 0
    capsys.readouterr()
    assert run(["diff", "hf://acme/tiny", f"oci://{host}/acme/drift:v1", "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {item["path"] for item in told["files"] if item["verdict"] == "different"} == {
        "config.json"
    }


def test_an_archive_is_opened_once_in_its_life(
    host: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push_modelkit(
        host, "acme/again", "v1", gzip.compress(tar_of(WEIGHTS)), tar_of(REST), packing=""
    )
    kit = "application/vnd.kitops.modelkit.model.v1.tar+gzip"
    push(host, "acme/again", "v2", [(gzip.compress(tar_of(MODEL)), kit, {})],
         config=(b"{}", f"{KIT}.config.v1+json"))  # fmt: skip
    told = []
    for extra in ([], [], ["--read", "all"], ["--fresh"]):
        arguments = ["snapshot", "oci", f"{host}/acme/again:v2", "--no-sign", "--format", "json"]
        assert run([*arguments, *extra]) == 0
        told.append(json.loads(capsys.readouterr().out))
    grades = [{k: v for k, v in item["evidence"].items() if v} for item in told]
    count = len(MODEL)
    assert grades == [
        {"measured": count},
        {"reused": count},
        {"reused": count},
        {"measured": count},
    ]
    assert told[1]["bytesRead"] == told[2]["bytesRead"] == 0 < told[0]["bytesRead"]
    assert len({item["manifest"] for item in told}) == 1


def _files(source: OciSource) -> dict[str, bytes]:
    resolved = source.resolve()
    found = {
        path: content(source, resolved, entry) for path, entry in listed(source, resolved).items()
    }
    source.close()
    return found
