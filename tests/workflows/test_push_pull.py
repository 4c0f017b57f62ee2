"""Snapshots through a registry: pushed, copied by skopeo, pulled elsewhere, tampered with on the way."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from manifestd.cli.main import run
from manifestd.loopback.models import tiny_model
from manifestd.model.carrier import BUNDLE_LAYER, CARRIER
from tests.support.registry import (
    EMPTY_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    descriptor,
    push,
    push_modelpack,
    put_manifest,
    request,
    sha256,
)
from tests.support.registry_loopback import PASSWORD, USER, small_registry
from tests.support.schemas import check_document
from tests.support.trees import write_tree

pytestmark = pytest.mark.peer

MODEL = tiny_model()
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


class Desk:
    """A folder with a configuration and a store of its own; others may trust its key."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        folder.mkdir()

    def __call__(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        self._monkeypatch.chdir(self.folder)
        self._capsys.readouterr()
        code = run([*arguments, "--format", "json"])
        return code, json.loads(self._capsys.readouterr().out)

    def trusts(self, other: Desk) -> None:
        shutil.copy(other.folder / "manifestd.toml", self.folder)
        (self.folder / "keys").mkdir()
        shutil.copy(other.folder / "keys" / "manifestd.pem.pub", self.folder / "keys")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Desk:
    for name in ("MANIFESTD_STORE", "MANIFESTD_CONFIG", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    desk = Desk(tmp_path / "home", monkeypatch, capsys)
    monkeypatch.chdir(desk.folder)
    assert run(["init"]) == 0
    write_tree(desk.folder / "model", MODEL)
    assert desk("snapshot", "dir", "model")[0] == 0
    return desk


@pytest.fixture
def away(home: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Desk:
    desk = Desk(tmp_path / "away", monkeypatch, capsys)
    desk.trusts(home)
    return desk


def manifest(host: str, name: str, reference: str) -> dict[str, Any]:
    status, _, data = request(
        host, "GET", f"/v2/{name}/manifests/{reference}", Accept=f"{OCI_MANIFEST}, {OCI_INDEX}"
    )  # fmt: skip
    assert status == 200, data
    found: dict[str, Any] = json.loads(data)
    return found


@pytest.mark.parametrize("auth", ["", "basic", "token"])
def test_a_registry_that_lists_what_is_attached_needs_no_tag_for_it(
    home: Desk, away: Desk, tmp_path: Path, auth: Any
) -> None:
    with small_registry() as registry:
        model = registry.add("v1", [])
        registry.api, registry.auth = True, auth
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (tmp_path / "docker").mkdir()
        login = {"auths": {registry.host: {"auth": known}}}
        (tmp_path / "docker" / "config.json").write_text(json.dumps(login))
        where = f"oci://{registry.host}/acme/tiny"
        code, pushed = home("push", "./model", where, "--subject", f"{where}@{model}")
        assert (code, pushed["referrers"]) == (0, "api")
        assert not any(name.startswith("sha256-") for name in registry.manifests)
        code, pulled = away("pull", f"{where}:v1")
        assert (code, pulled["carriers"], pulled["problems"]) == (0, [pushed["carrier"]], [])


def test_one_bad_attachment_does_not_hide_a_good_one_and_a_bad_one_alone_is_an_error(
    home: Desk, away: Desk
) -> None:
    with small_registry() as registry:
        registry.api = True
        model = registry.add("v1", [])
        where = f"oci://{registry.host}/acme/tiny"
        subject = {"mediaType": OCI_MANIFEST, "digest": model, "size": 1}
        bad = [
            registry.add("a", [], artifactType=CARRIER, subject=subject),
            registry.add("b", [], artifactType=CARRIER, subject={**subject, "digest": sha256(b"")}),
            registry.add("c", [], subject=subject),
        ]
        registry.referrers[model] = [
            {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1, "artifactType": CARRIER}
            for digest in [*bad, sha256(b"gone")]
        ]
        code, error = away("pull", f"{where}:v1")
        assert (code, error["code"]) == (4, "malformed")
        _, pushed = home("push", "./model", where, "--subject", f"{where}@{model}")
        code, pulled = away("pull", f"{where}:v1")
        assert (code, pulled["carriers"], len(pulled["problems"])) == (0, [pushed["carrier"]], 4)


def test_what_is_pushed_comes_back_verified_elsewhere(host: str, home: Desk, away: Desk) -> None:
    code, pushed = home("push", "./model", f"oci://{host}/back/tiny:snap")
    assert code == 0
    check_document("push", json.dumps(pushed).encode())
    carrier = manifest(host, "back/tiny", "snap")
    assert carrier["artifactType"] == CARRIER
    assert [layer["annotations"]["org.opencontainers.image.title"] for layer in carrier["layers"]] \
        == ["snapshot.bundle", "manifest.json"]  # fmt: skip
    code, pulled = away("pull", f"oci://{host}/back/tiny:snap")
    assert code == 0
    check_document("pull", json.dumps(pulled).encode())
    (found,) = pulled["snapshots"]
    assert (found["snapshot"], found["signature"], pulled["new"]) == (
        pushed["snapshot"], "verified", 1,
    )  # fmt: skip
    assert away("diff", pushed["snapshot"], pushed["snapshot"])[1]["result"] == "pass"
    # Again: nothing new, and the same bytes are pushed.
    assert away("pull", f"oci://{host}/back/tiny@{pushed['carrier']}")[1]["new"] == 0
    assert home("push", "./model", f"oci://{host}/back/tiny:again")[1]["carrier"] == pushed["carrier"]  # fmt: skip


def test_without_the_key_it_is_stored_and_said_not_to_be_verified(
    host: str, home: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    home("push", "./model", f"oci://{host}/stranger/tiny:snap")
    stranger = Desk(tmp_path / "stranger", monkeypatch, capsys)
    code, pulled = stranger("pull", f"oci://{host}/stranger/tiny:snap")
    assert code == 4
    assert not pulled["verified"]
    assert pulled["snapshots"][0]["signature"] == "untrusted"


def test_a_snapshot_is_found_from_the_model_it_is_attached_to(
    host: str, home: Desk, away: Desk
) -> None:
    digest = push_modelpack(host, "on/tiny", "v1", MODEL)
    where = f"oci://{host}/on/tiny"
    code, pushed = home("push", "./model", where, "--subject", f"{where}@{digest}")
    assert (code, pushed["tag"], pushed["subject"]) == (0, None, digest)
    assert pushed["referrers"] == "tag"  # this registry has no API for it
    carrier = manifest(host, "on/tiny", pushed["carrier"])
    assert carrier["subject"]["digest"] == digest
    listed = manifest(host, "on/tiny", digest.replace(":", "-"))["manifests"]
    assert [(item["digest"], item["artifactType"]) for item in listed] == [
        (pushed["carrier"], CARRIER)
    ]
    assert listed[0]["annotations"] == carrier["annotations"]
    attached = manifest(host, "on/tiny", pushed["carrier"].replace(":", "-"))["manifests"]
    assert [item["artifactType"] for item in attached] == [BUNDLE]
    code, pulled = away("pull", f"{where}:v1")
    assert (code, pulled["carriers"]) == (0, [pushed["carrier"]])
    # Pushing again adds nothing to the lists.
    home("push", "./model", where, "--subject", f"{where}@{digest}")
    assert len(manifest(host, "on/tiny", digest.replace(":", "-"))["manifests"]) == 1


def test_a_later_signature_arrives_through_the_list(host: str, home: Desk, away: Desk) -> None:
    _, pushed = home("push", "./model", f"oci://{host}/later/tiny:snap")
    (signature,) = manifest(host, "later/tiny", pushed["carrier"].replace(":", "-"))["manifests"]
    # A carrier without signatures inside, and the list copied to it, as other tools may sign.
    bare = away.folder.parent / "bare"
    shutil.copytree(home.folder, bare)
    shutil.rmtree(bare / "snapshots")
    assert home("--store", str(bare / "s.db"), "snapshot", "dir", "model", "--no-sign")[0] == 0
    code, unsigned = home(
        "--store", str(bare / "s.db"), "push", "./model", f"oci://{host}/later/tiny:bare"
    )
    assert (code, unsigned["signatures"]) == (0, [])
    code, pulled = away("pull", f"oci://{host}/later/tiny:bare")
    assert (code, pulled["snapshots"][0]["signature"]) == (4, "unsigned")
    garbage = push(
        host, "later/tiny", "garbage", [(b"{}", BUNDLE, {})], artifactType=BUNDLE,
        subject={"mediaType": OCI_MANIFEST, "digest": unsigned["carrier"], "size": 1},
    )  # fmt: skip
    items = [
        {**signature}, {"mediaType": OCI_MANIFEST, "digest": garbage, "size": 1, "artifactType": BUNDLE},
    ]  # fmt: skip
    put_manifest(
        host, "later/tiny", unsigned["carrier"].replace(":", "-"),
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items},
        OCI_INDEX,
    )  # fmt: skip
    code, pulled = away("pull", f"oci://{host}/later/tiny:bare")
    # Neither another snapshot's signature nor garbage is taken in, and both are said.
    assert (code, pulled["snapshots"][0]["signature"]) == (4, "unsigned")
    assert len(pulled["problems"]) == 2


def test_a_carrier_that_was_changed_brings_nothing(host: str, home: Desk, away: Desk) -> None:
    _, pushed = home("push", "./model", f"oci://{host}/evil/tiny:snap")
    carrier = manifest(host, "evil/tiny", "snap")
    layer = carrier["layers"][0]
    _, _, data = request(host, "GET", f"/v2/evil/tiny/blobs/{layer['digest']}")
    at = data.rindex(b"gpt2") if b"gpt2" in data else len(data) - 40
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    for tag, layers, notes in [
        ("changed", [descriptor(host, "evil/tiny", changed, BUNDLE_LAYER)], carrier["annotations"]),
        ("renamed", [layer], {"dev.manifestd.snapshot": sha256(b"another")}),
        ("empty", [], carrier["annotations"]),
    ]:
        document = {**carrier, "layers": layers, "annotations": notes}
        put_manifest(host, "evil/tiny", tag, document)
        code, error = away("pull", f"oci://{host}/evil/tiny:{tag}")
        assert (code, error["schema"]) == (4, "manifestd.error/v1"), tag
    assert away("list")[1]["snapshots"] == []
    assert pushed["snapshot"] not in json.dumps(away("list"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["push", "./model", "oci://{host}/no/tag"], 2),
        (["push", "./model", "oci://{host}/no/tag@" + sha256(b"")], 2),
        (["push", "./model", "oci://{host}/a/b:v", "--subject", "oci://{host}/a/b:v"], 2),
        (["push", "./model", "oci://{host}/a/b", "--subject", "oci://{host}/c/d@" + sha256(b"")], 2),
        (["push", "./model", "oci://{host}/a/b", "--subject", "oci://{host}/a/b@" + sha256(b"")], 3),
        (["push", "./nothing", "oci://{host}/a/b:v"], 3),
        (["push", "./model", "oci://127.0.0.1:1/a/b:v"], 3),
        (["pull", "oci://{host}/nothing/here:v1"], 3),
        (["pull", "oci://{host}/plain/tiny:v1"], 3),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_a_reason(
    host: str, home: Desk, arguments: list[str], code: int
) -> None:
    push_modelpack(host, "plain/tiny", "v1", {"a.txt": b"a"})
    found, error = home(*(text.replace("{host}", host) for text in arguments))
    assert (found, error["schema"]) == (code, "manifestd.error/v1")
    assert error["what"]


def test_skopeo_copies_what_was_pushed_and_keeps_its_digest(
    host: str, home: Desk, away: Desk, tmp_path: Path
) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    _, pushed = home("push", "./model", f"oci://{host}/from/tiny:snap")
    steps = [
        (f"docker://{host}/from/tiny:snap", f"oci:{tmp_path}/layout:snap"),
        (f"oci:{tmp_path}/layout:snap", f"docker://{host}/to/tiny:snap"),
    ]
    for source, target in steps:
        command = [skopeo, "--insecure-policy", "copy", "--src-tls-verify=false",
                   "--dest-tls-verify=false", source, target]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    code, pulled = away("pull", f"oci://{host}/to/tiny:snap")
    assert (code, pulled["carriers"]) == (0, [pushed["carrier"]])


def test_unsigned_and_incomplete_snapshots_can_be_carried_too(
    host: str, home: Desk, away: Desk
) -> None:
    store = ("--store", "other.db")
    assert home(*store, "snapshot", "dir", "model", "--no-sign", "--read", "none")[0] == 3
    code, pushed = home(*store, "push", "./model", f"oci://{host}/part/tiny:snap")
    assert (code, pushed["referrers"]) == (0, None)
    assert len(manifest(host, "part/tiny", "snap")["layers"]) == 1
    code, pulled = away("pull", f"oci://{host}/part/tiny:snap")
    assert (code, pulled["new"]) == (4, 1)


def test_the_empty_config_is_there_for_tools_that_fetch_it(host: str, home: Desk) -> None:
    home("push", "./model", f"oci://{host}/config/tiny:snap")
    config = manifest(host, "config/tiny", "snap")["config"]
    assert config["mediaType"] == EMPTY_CONFIG
    status, _, data = request(host, "GET", f"/v2/config/tiny/blobs/{config['digest']}")
    assert (status, data) == (200, b"{}")
