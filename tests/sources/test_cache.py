"""Repositories in a Hub cache that huggingface_hub itself made, read offline and held to their names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from manifestd.cli.main import run
from manifestd.errors import (
    AmbiguousError,
    MalformedError,
    ManifestdError,
    SourceNotFoundError,
    UnreadableError,
)
from manifestd.loopback.hub import LoopbackHub
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import HubReference, parse_hub
from manifestd.sources.base import Resolved, SourceSettings
from manifestd.sources.cache import CacheSource, cached_repositories
from manifestd.sources.cache_layout import cache_root
from tests.contracts.source_suite import ODD_NAMES, Place, SourceContract, content, listed
from tests.loopback.hub_support import (
    FILES,
    WEIGHTS,
)
from tests.support.schemas import check_document

LFS = {"model.safetensors", "onnx/model.onnx"}


def download(hub: LoopbackHub, name: str, root: Path, **options: Any) -> Path:
    """The snapshot's folder, by the library that people use."""
    return Path(
        huggingface_hub.snapshot_download(
            name, endpoint=hub.endpoint, cache_dir=root, token=False, **options
        )
    )


def source(name: str, root: Path) -> CacheSource:
    return CacheSource(parse_hub(name, scheme="hf-cache"), SourceSettings(), root)


def seen(name: str, root: Path) -> tuple[dict[str, Entry], list[Problem], Resolved]:
    opened = source(name, root)
    resolved = opened.resolve()
    items = list(opened.list(resolved))
    entries = {item.path: item for item in items if isinstance(item, Entry)}
    return entries, [item for item in items if isinstance(item, Problem)], resolved


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class CachePlace:
    def __init__(self, hub: LoopbackHub, root: Path) -> None:
        self._hub, self._root, self._made = hub, root, 0

    def make(self, tree: Mapping[str, bytes]) -> CacheSource:
        self._made += 1
        name = f"org/name{self._made}"
        self._hub.add_repo(name, tree)
        self._folder = download(self._hub, name, self._root)
        return source(name, self._root)

    def change(self, path: str, data: bytes) -> None:
        (self._folder / path).resolve().write_bytes(data)

    def missing(self) -> CacheSource:
        return source("org/missing", self._root)


class TestCache(SourceContract):
    # The client makes no local file of these.
    odd_names = tuple(name for name in ODD_NAMES if "\\" not in name)

    @pytest.fixture
    def place(self, hub: LoopbackHub, tmp_path: Path) -> Place:
        return CachePlace(hub, tmp_path / "cache")


@pytest.fixture
def cache(hub: LoopbackHub, tmp_path: Path) -> Path:
    """A cache with ``org/tiny``, and a Hub that is gone by the time it is looked at."""
    hub.add_repo("org/tiny", FILES, lfs=LFS)
    root = tmp_path / "cache"
    download(hub, "org/tiny", root)
    hub.close()
    return root


def repository(root: Path) -> Path:
    return root / "models--org--tiny"


def blob(root: Path, path: str) -> Path:
    [commit] = (repository(root) / "snapshots").iterdir()
    return repository(root) / "blobs" / (commit / path).readlink().name


def relink(root: Path, path: str, target: str) -> None:
    [commit] = (repository(root) / "snapshots").iterdir()
    (commit / path).unlink()
    (commit / path).symlink_to(target)


def test_blob_names_and_the_caches_own_tree_are_declared_digests(cache: Path) -> None:
    entries, problems, resolved = seen("org/tiny", cache)
    assert problems == []
    assert entries.keys() == FILES.keys()
    for path, entry in entries.items():
        data = FILES[path]
        known = {"sha256": hashlib.sha256(data).hexdigest()} if path in LFS else {
            "sha1-git": git_id(data)
        }  # fmt: skip
        assert known.items() <= entry.digests.items(), path
        assert set(entry.evidence.values()) == {"declared"}
        assert entry.size == len(data)
        assert entry.identity["commit"] == resolved.revision
    assert (resolved.place, resolved.name, resolved.requested) == (
        "hf-cache://org/tiny", "org/tiny", "main",
    )  # fmt: skip


def test_the_tree_declares_sha256_where_the_client_wrote_it(cache: Path) -> None:
    """A listing of our own making, as the client's next version may write it."""
    [commit] = (repository(cache) / "snapshots").iterdir()
    tree = repository(cache) / "trees" / f"{commit.name}.json"
    assert tree.is_file(), "huggingface_hub writes no tree any more: look at reference 9 again"
    document = json.loads(tree.read_bytes())
    assert document["format_version"] == 1
    found = {path: info.get("lfs_sha256") for path, info in document["files"].items()}
    assert found["model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert found["config.json"] is None


def test_a_blob_whose_name_does_not_match_its_bytes_is_found(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = blob(cache, "model.safetensors")
    changed = bytearray(WEIGHTS)
    changed[77] ^= 1
    target.write_bytes(changed)
    config = blob(cache, "config.json")
    config.write_bytes(config.read_bytes().replace(b"8", b"9"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    assert run(["-q", "snapshot", "cache", "org/tiny", "--no-sign", "--format", "json"]) == 4
    document = json.loads(capsys.readouterr().out)
    check_document("snapshot-result", document)
    wrong = {p["path"]: p["what"] for p in document["problems"] if p.get("severity") == "mismatch"}
    assert wrong.keys() == {"model.safetensors", "config.json"}
    assert target.name in wrong["model.safetensors"]
    # What was read is recorded, not what was declared.
    run(["files", "hf-cache://org/tiny", "--format", "json"])
    files = {f["path"]: f for f in json.loads(capsys.readouterr().out)["files"]}
    assert files["model.safetensors"]["digests"]["sha256"] == hashlib.sha256(changed).hexdigest()


def test_a_blob_of_another_length_than_the_tree_says_is_found_without_reading(
    cache: Path,
) -> None:
    target = blob(cache, "model.safetensors")
    target.write_bytes(WEIGHTS[:-1])
    entries, [problem], _ = seen("org/tiny", cache)
    assert (problem.path, problem.severity) == ("model.safetensors", "mismatch")
    assert f"{len(WEIGHTS) - 1} bytes" in problem.what
    assert entries["model.safetensors"].size == len(WEIGHTS) - 1


def test_a_tree_that_contradicts_a_blobs_name_is_told(cache: Path) -> None:
    [commit] = (repository(cache) / "snapshots").iterdir()
    tree = repository(cache) / "trees" / f"{commit.name}.json"
    document = json.loads(tree.read_bytes())
    document["files"]["model.safetensors"]["lfs_sha256"] = "0" * 64
    tree.write_text(json.dumps(document))
    entries, [problem], _ = seen("org/tiny", cache)
    assert (problem.path, problem.severity) == ("model.safetensors", "mismatch")
    # Its bytes are still held against the name that the cache goes by.
    assert entries["model.safetensors"].digests["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"\xff", b'{"format_version": 2, "files": {}}',
     b'{"format_version": 1, "files": {"config.json": {"size": -1, "blob_id": "' + b"0" * 40 + b'"}}}',
     b'{"format_version": 1, "files": {"config.json": {"size": 1, "blob_id": "../x"}}}',
     b'{"format_version": 1, "files": []}', b"[" * 100_000],
)  # fmt: skip
def test_a_tree_that_makes_no_sense_is_noted_and_not_used(cache: Path, data: bytes) -> None:
    [commit] = (repository(cache) / "snapshots").iterdir()
    (repository(cache) / "trees" / f"{commit.name}.json").write_bytes(data)
    entries, [problem], _ = seen("org/tiny", cache)
    assert (problem.code, problem.severity) == ("cache-tree", "note")
    assert entries["model.safetensors"].digests.keys() == {"sha256"}


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "../../../../secret", "../../blobs/../../../secret", "../../blobs",
     "../../blobs/not-a-digest", "../../../models--org--other/blobs/" + "0" * 64,
     "../../blobs/" + "0" * 64 + "/x"],
)  # fmt: skip
def test_a_link_out_of_the_repositorys_blobs_is_never_followed(
    cache: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    relink(cache, "config.json", target)
    entries, [problem, *rest], _ = seen("org/tiny", cache)
    assert (problem.path, problem.code) == ("config.json", "symlink-escapes")
    assert "config.json" not in entries
    assert all(other.severity == "note" for other in rest)


def test_a_blob_that_is_a_link_out_of_the_cache_is_never_followed(
    cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    target = blob(cache, "config.json")
    target.unlink()
    for leads in (str(tmp_path / "secret"), "../../../secret", "../../blobs/zz/" + "0" * 64):
        target.symlink_to(leads)
        _, [problem, *_], _ = seen("org/tiny", cache)
        assert (problem.path, problem.code) == ("config.json", "symlink-escapes"), leads
        target.unlink()
    # Not there at all: said so, and the snapshot cannot be complete.
    _, [problem, *_], _ = seen("org/tiny", cache)
    assert (problem.path, problem.code, problem.severity) == ("config.json", "unreadable", "error")


@pytest.mark.parametrize("folder", ["blobs", "snapshots"])
def test_folders_of_the_repository_are_no_links(cache: Path, tmp_path: Path, folder: str) -> None:
    moved = tmp_path / "moved"
    (repository(cache) / folder).rename(moved)
    (repository(cache) / folder).symlink_to(moved)
    with pytest.raises(MalformedError, match="is a link"):
        source("org/tiny", cache).resolve()


def test_blobs_shared_between_repositories_are_read_over_two_links(cache: Path) -> None:
    target = blob(cache, "model.safetensors")
    shared = cache / "blobs" / "ab" / ("ab" + "0" * 62)
    shared.parent.mkdir(parents=True)
    target.rename(shared)
    target.symlink_to(os.path.relpath(shared, target.parent))
    entries, problems, resolved = seen("org/tiny", cache)
    assert problems == []
    assert entries["model.safetensors"].digests["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    opened = source("org/tiny", cache)
    found = listed(opened, opened.resolve())
    assert content(opened, resolved, found["model.safetensors"]) == WEIGHTS
    # A third link leads where nobody looks.
    third = shared.with_name("ab" + "1" * 62)
    shared.rename(third)
    shared.symlink_to(third)
    _, [problem], _ = seen("org/tiny", cache)
    assert (problem.path, problem.code) == ("model.safetensors", "special-file")


def test_files_themselves_instead_of_links_are_read(cache: Path) -> None:
    """So the client keeps them where it cannot make links."""
    [commit] = (repository(cache) / "snapshots").iterdir()
    for path, data in FILES.items():
        (commit / path).unlink()
        (commit / path).write_bytes(data)
    entries, problems, _ = seen("org/tiny", cache)
    assert problems == []
    assert entries["model.safetensors"].digests["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_partial_download_says_what_is_not_there(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_repo("org/tiny", FILES, lfs=LFS)
    root = tmp_path / "cache"
    download(hub, "org/tiny", root, allow_patterns=["*.json", "*.md"])
    entries, [problem], _ = seen("org/tiny", root)
    assert entries.keys() == {"README.md", "config.json"}
    assert (problem.code, problem.severity) == ("not-downloaded", "note")
    assert "model.safetensors, onnx/model.onnx" in problem.what


def test_revisions_are_found_by_branch_commit_or_being_the_only_one(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    first = hub.add_repo("org/tiny", FILES, lfs=LFS)
    root = tmp_path / "cache"
    download(hub, "org/tiny", root)
    second = hub.add_revision("org/tiny", {**FILES, "config.json": b"{}\n"})
    download(hub, "org/tiny", root)
    assert seen("org/tiny", root)[2].revision == second
    old, _, resolved = seen(f"org/tiny@{first}", root)
    assert (resolved.revision, resolved.requested) == (first, first)
    assert old["config.json"].digests["sha1-git"] == git_id(FILES["config.json"])
    with pytest.raises(SourceNotFoundError) as refused:
        source(f"org/tiny@{'0' * 40}", root).resolve()
    assert refused.value.facts["cached"] == sorted([first, second])
    assert (
        refused.value.hint == f"the cache has {', '.join(f'@{c}' for c in sorted([first, second]))}"
    )
    with pytest.raises(SourceNotFoundError):
        source("org/tiny@v9", root).resolve()
    (repository(root) / "refs" / "main").unlink()
    with pytest.raises(AmbiguousError) as several:
        source("org/tiny", root).resolve()
    assert several.value.facts["candidates"] == sorted([first, second])
    shutil.rmtree(repository(root) / "snapshots" / second)
    resolved = seen("org/tiny", root)[2]
    assert (resolved.revision, resolved.requested) == (first, None)


@pytest.mark.parametrize("text", ["", "main", "0" * 39, "../../x", "0" * 10_000])
def test_a_ref_that_holds_no_commit_is_refused(cache: Path, text: str) -> None:
    (repository(cache) / "refs" / "main").write_text(text)
    with pytest.raises(MalformedError, match="no commit"):
        source("org/tiny", cache).resolve()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("refs/pr/1", SourceNotFoundError),
        ("../snapshots", MalformedError),
        ("a/../../blobs", MalformedError),
    ],
)
def test_a_revision_never_leads_out_of_refs(
    cache: Path, name: str, error: type[ManifestdError]
) -> None:
    reference = HubReference(repo_id="org/tiny", revision=name, scheme="hf-cache")
    with pytest.raises(error):
        CacheSource(reference, SourceSettings(), cache).resolve()


def test_the_cache_is_found_as_the_library_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[dict[str, str]] = [
        {}, {"HF_HOME": "~/hf"}, {"HF_HUB_CACHE": "/a/b"}, {"XDG_CACHE_HOME": "/x"},
        {"HUGGINGFACE_HUB_CACHE": "/old"}, {"HF_HOME": "$HOME/h"},
        {"HF_HOME": "/h", "HF_HUB_CACHE": "/c", "XDG_CACHE_HOME": "/x"},
    ]  # fmt: skip
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "HUGGING"))}
    program = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    for case in cases:
        done = subprocess.run(
            [sys.executable, "-c", program], env={**clean, **case}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert str(cache_root({**clean, **case})) == done.stdout.strip(), case


def test_every_repository_of_every_kind_is_listed(
    hub: LoopbackHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "cache"
    assert cached_repositories(root) == []
    commits = {}
    for kind in ("model", "dataset", "space"):
        commits[kind] = hub.add_repo("org/tiny", FILES, repo_type=kind)
        download(hub, "org/tiny", root, repo_type=kind)
    (root / "models--..--evil" / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (root / "models--org--begun" / "blobs").mkdir(parents=True)
    (root / "notes.txt").write_text("mine")
    assert [str(found) for found in cached_repositories(root)] == [
        f"hf-cache://datasets/org/tiny@{commits['dataset']}",
        f"hf-cache://org/tiny@{commits['model']}",
        f"hf-cache://spaces/org/tiny@{commits['space']}",
    ]
    assert "left out" in caplog.text


def test_a_cache_that_cannot_be_listed_says_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may list everything")
    (tmp_path / "cache").mkdir(mode=0)
    with pytest.raises(UnreadableError):
        cached_repositories(tmp_path / "cache")


def test_all_snapshots_every_revision_offline_and_one_failure_stops_none(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    root = tmp_path / "cache"
    for name in ("org/a", "org/b", "org/c"):
        hub.add_repo(name, FILES, lfs=LFS)
        download(hub, name, root)
    hub.close()
    broken = root / "models--org--b"
    (broken / "blobs").rename(broken / "gone")
    (broken / "blobs").symlink_to(broken / "gone")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(root))
    command = ["-q", "snapshot", "cache", "--all", "--no-sign"]
    assert run([*command, "--format", "json"]) == 4
    document = json.loads(capsys.readouterr().out)
    check_document("snapshot-results", document)
    assert [item["name"] for item in document["snapshots"]] == ["org/a", "org/c"]
    [failure] = document["failures"]
    assert failure["reference"].startswith("hf-cache://org/b@")
    assert failure["error"]["code"] == "malformed"
    # What holds the same files has the same content identity, wherever it lies.
    assert len({item["manifest"] for item in document["snapshots"]}) == 1
    assert all(item["evidence"]["measured"] == len(FILES) for item in document["snapshots"])
    assert run(command) == 4
    assert "not taken: hf-cache://org/b@" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    assert run(command) == 3
    assert run(["snapshot", "cache"]) == 2
    assert run(["snapshot", "hf", "--all"]) == 2


def test_a_cached_repository_and_the_hub_are_identical(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/tiny", FILES, lfs=LFS)
    root = tmp_path / "cache"
    download(hub, "org/tiny", root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(root))
    assert run(["-q", "snapshot", "hf", "org/tiny", "--no-sign"]) == 0
    assert run(["-q", "snapshot", "cache", "org/tiny", "--no-sign"]) == 0
    assert run(["-q", "diff", "hf://org/tiny", "hf-cache://org/tiny", "--strict"]) == 0


def test_a_cache_that_the_librarys_own_command_filled_by_xet_is_as_the_hub_lists_it(
    hub: LoopbackHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("hf_xet")
    hub.add_repo("org/tiny", {**FILES, "empty.bin": b"", "a copy.bin": WEIGHTS}, lfs=LFS)
    root = tmp_path / "cache"
    # A process of its own: whether Xet is used is decided when the library is imported.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    setting = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(root), "HF_ENDPOINT": hub.endpoint}

    def hf(*words: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("hf")), *words], env={**clean, **setting},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    hf("download", "org/tiny")
    assert any(exchange.path.startswith("/xorbs/") for exchange in hub.requests)
    assert not any(exchange.path.startswith("/objects/") for exchange in hub.requests)
    assert "model/org/tiny" in hf("cache", "ls")
    # Two links: into the repository's blobs, and from there into those that all share.
    assert (repository(root) / "blobs" / hashlib.sha256(WEIGHTS).hexdigest()).is_symlink()
    monkeypatch.chdir(tmp_path)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    manifests = set()
    for kind in ("hf", "cache"):
        words = ["-q", "snapshot", kind, "org/tiny", "--no-sign", "--read", "all"]
        assert run([*words, "--format", "json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["evidence"]["measured"] == len(FILES) + 2
        manifests.add(document["manifest"])
    assert len(manifests) == 1
    assert run(["-q", "diff", "hf://org/tiny", "hf-cache://org/tiny", "--strict"]) == 0
