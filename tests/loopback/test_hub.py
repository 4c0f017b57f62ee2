"""The loopback Hub as the real client library sees it: what it believes, our source may too."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from manifestd.errors import UsageError
from manifestd.loopback.hub import LoopbackHub
from tests.loopback.hub_support import FILES, WEIGHTS
from tests.support.trees import write_tree


def api(hub: LoopbackHub, token: str | bool = False) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def test_the_info_names_commit_files_and_licence(hub: LoopbackHub) -> None:
    commit = hub.add_repo("org/name", FILES, card={"license": "mit"})
    info = api(hub).model_info("org/name", files_metadata=True)
    assert info.sha == commit
    assert info.card_data is not None
    assert info.card_data["license"] == "mit"
    assert info.tags == ["license:mit"]
    assert info.siblings is not None
    by_name = {sibling.rfilename: sibling for sibling in info.siblings}
    assert set(by_name) == set(FILES)
    lfs = by_name["model.safetensors"].lfs
    assert lfs is not None
    assert lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert by_name["config.json"].lfs is None


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_a_listing_has_every_file_and_folder_whatever_its_pages(page_size: int) -> None:
    with LoopbackHub(page_size=page_size) as hub:
        hub.add_repo("org/name", {**FILES, "a/b/c.txt": b"deep"})
        lines = list(api(hub).list_repo_tree("org/name", recursive=True))
        assert {line.path for line in lines if isinstance(line, RepoFile)} == {*FILES, "a/b/c.txt"}
        assert {line.path for line in lines if isinstance(line, RepoFolder)} == {"a", "a/b", "onnx"}
        assert len(lines) == len({line.path for line in lines})
        top = {line.path for line in api(hub).list_repo_tree("org/name")}
        assert top == {"a", "onnx", "README.md", "config.json", "model.safetensors"}
        below = {line.path for line in api(hub).list_repo_tree("org/name", "a", recursive=True)}
        assert below == {"a/b", "a/b/c.txt"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commits_trees_and_blobs_have_the_ids_git_gives_them(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    tree = {"a.txt": b"a", "a/b.txt": b"b", "a-b/c.txt": b"c", "z.txt": b"", "ünï/ç.txt": b"d"}
    commit = hub.add_repo("org/name", tree)
    environment = {**os.environ, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"] = "loopback"
        environment[f"GIT_{role}_EMAIL"] = "loopback@localhost"
        environment[f"GIT_{role}_DATE"] = "1767225600 +0000"

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=tmp_path / "r", env=environment, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    (tmp_path / "r").mkdir()
    git("init", "-q")
    write_tree(tmp_path / "r", tree)
    git("add", ".")
    git("commit", "-q", "-m", "Revision 0")
    assert git("rev-parse", "HEAD") == commit
    lines = api(hub).list_repo_tree("org/name", recursive=True)
    blobs = {line.path: line.blob_id for line in lines if isinstance(line, RepoFile)}
    assert blobs["a/b.txt"] == git("rev-parse", "HEAD:a/b.txt")


def test_the_library_downloads_a_whole_snapshot(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_repo("org/name", {**FILES, "odd name #1?.txt": b"odd", "100%.txt": b"percent"})
    where = Path(
        snapshot_download("org/name", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    )
    found = {
        str(path.relative_to(where)): path.read_bytes()
        for path in where.rglob("*")
        if path.is_file()
    }
    assert found == {**FILES, "odd name #1?.txt": b"odd", "100%.txt": b"percent"}


@pytest.mark.skipif(importlib.util.find_spec("hf_xet") is None, reason="hf_xet is not installed")
def test_the_library_downloads_by_way_of_xet_where_that_is_not_turned_off(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    hub.add_token("hf_secret", "org/name")
    hub.add_repo("org/name", FILES, gated="auto")
    program = (
        "import sys, huggingface_hub as h;"
        "print(h.snapshot_download('org/name', endpoint=sys.argv[1], token=sys.argv[2]))"
    )
    # A process of its own: the tests turn it off when they import the library.
    setting = {"HF_HUB_DISABLE_XET": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, hub.endpoint, "hf_secret"],
        env={**os.environ, **setting}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    where = Path(done.stdout.strip())
    assert {path: (where / path).read_bytes() for path in FILES} == FILES
    stored = [exchange for exchange in hub.requests if exchange.origin == "cdn"]
    assert any(exchange.path.startswith("/xorbs/") for exchange in stored)
    assert not any("hf_secret" in str(exchange.headers) for exchange in stored)


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
def test_datasets_and_spaces_are_found_under_their_own_prefix(
    hub: LoopbackHub, tmp_path: Path, repo_type: str
) -> None:
    hub.add_repo("org/name", {"a.txt": b"model"})
    hub.add_repo("org/name", {"a.txt": b"other"}, repo_type=repo_type)  # type: ignore[arg-type]
    path = hf_hub_download(
        "org/name",
        "a.txt",
        repo_type=repo_type,
        endpoint=hub.endpoint,
        cache_dir=tmp_path,
        token=False,
    )
    assert Path(path).read_bytes() == b"other"


def test_a_file_system_reads_ranges_of_lfs_content(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    fs = HfFileSystem(endpoint=hub.endpoint, token=False, skip_instance_cache=True)
    assert fs.cat_file("org/name/model.safetensors", start=1000, end=1010) == WEIGHTS[1000:1010]


def test_branches_tags_and_commits_are_revisions(hub: LoopbackHub) -> None:
    first = hub.add_repo("org/name", {"a.txt": b"1"})
    hub.add_tag("org/name", "v1", first)
    second = hub.add_revision("org/name", {"a.txt": b"2"})
    hub.add_revision("org/name", {"a.txt": b"3"}, branch="refs/pr/1")
    hub.move_branch("org/name", first, branch="old/branch")
    one = api(hub)
    assert one.model_info("org/name").sha == second
    assert one.model_info("org/name", revision="v1").sha == first
    assert one.model_info("org/name", revision="old/branch").sha == first
    assert one.model_info("org/name", revision=first).sha == first
    refs = one.list_repo_refs("org/name", include_pull_requests=True)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {
        "main": second,
        "old/branch": first,
    }
    assert [ref.name for ref in refs.tags] == ["v1"]
    assert refs.pull_requests is not None
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]


def test_paths_info_leaves_unknown_paths_out(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    found = api(hub).get_paths_info("org/name", ["config.json", "nothing.here"])
    assert [line.path for line in found] == ["config.json"]


def test_refusals_are_the_ones_the_library_knows(hub: LoopbackHub) -> None:
    hub.add_repo("org/gated", FILES, gated="manual")
    hub.add_repo("org/private", FILES, private=True)
    hub.add_repo("org/disabled", FILES, disabled=True)
    hub.add_repo("org/open", FILES)
    hub.add_token("hf_member", "org/gated", "org/private")
    hub.add_token("hf_stranger")
    stranger, member, nobody = api(hub, "hf_stranger"), api(hub, "hf_member"), api(hub)

    assert list(nobody.list_repo_tree("org/gated")), "the listing of a gated repository is open"
    with pytest.raises(GatedRepoError):
        nobody.auth_check("org/gated")
    with pytest.raises(GatedRepoError):
        stranger.auth_check("org/gated")
    member.auth_check("org/gated")
    with pytest.raises(RepositoryNotFoundError):
        stranger.model_info("org/private")
    with pytest.raises(HfHubHTTPError, match="401"):
        nobody.model_info("org/private")
    with pytest.raises(HfHubHTTPError, match="401"):
        nobody.model_info("org/missing")
    assert member.model_info("org/private").private
    with pytest.raises(DisabledRepoError):
        nobody.model_info("org/disabled")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api(hub, "hf_revoked").model_info("org/open")
    with pytest.raises(RevisionNotFoundError):
        nobody.model_info("org/open", revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("org/open", "no.txt", endpoint=hub.endpoint, token=False)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_renamed_repository_redirects_to_its_new_name(absolute: bool, tmp_path: Path) -> None:
    with LoopbackHub(absolute_redirects=absolute) as hub:
        hub.add_repo("old/name", FILES)
        hub.rename("old/name", "new/name")
        assert api(hub).model_info("old/name").id == "new/name"
        for path in ("config.json", "model.safetensors"):
            where = hf_hub_download(
                "old/name", path, endpoint=hub.endpoint, cache_dir=tmp_path, token=False
            )
            assert Path(where).read_bytes() == FILES[path]


def test_text_comes_compressed_and_whole_to_whoever_accepts_that(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    url = hf_hub_url("org/name", "config.json", endpoint=hub.endpoint)
    with httpx2.Client(follow_redirects=True, trust_env=False) as client:
        packed = client.get(url, headers={"Range": "bytes=3-"})
        plain = client.get(url, headers={"Range": "bytes=3-", "Accept-Encoding": "identity"})
    assert packed.status_code == 200
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-length" not in packed.headers
    assert packed.content == FILES["config.json"]
    assert plain.status_code == 206
    assert plain.content == FILES["config.json"][3:]


def test_every_answer_of_the_hub_states_the_rate_limit_and_a_429_states_none_left(
    hub: LoopbackHub,
) -> None:
    hub.add_repo("org/name", FILES)
    hub.faults.add("/api/models", "status:429:7", after=1)
    with httpx2.Client(trust_env=False) as client:
        fine = client.get(f"{hub.endpoint}/api/models/org/name")
        busy = client.get(f"{hub.endpoint}/api/models/org/name")
    assert fine.headers["ratelimit"] == '"api";r=499;t=60'
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
    assert busy.headers["ratelimit"] == '"api";r=0;t=60'


def test_the_store_takes_signed_links_only_and_no_hub_token(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    url = hf_hub_url("org/name", "model.safetensors", endpoint=hub.endpoint)
    with httpx2.Client(trust_env=False) as client:
        link = client.get(url).headers["location"]
        assert link.startswith(hub.store_endpoint)
        assert client.get(link).content == WEIGHTS
        assert client.get(link.replace("Signature=", "Signature=0")).status_code == 403
        assert client.get(link, headers={"Authorization": "Bearer hf_x"}).status_code == 400
        assert client.get(link, headers={"Range": f"bytes={len(WEIGHTS)}-"}).status_code == 416


def test_bytes_of_content_are_counted_and_bytes_of_redirects_are_not(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    hub.add_repo("org/name", FILES)
    hf_hub_download(
        "org/name", "onnx/model.onnx", endpoint=hub.endpoint, cache_dir=tmp_path, token=False
    )
    assert hub.content_bytes() == 70_000
    assert hub.content_bytes(r"\.safetensors$") == 0
    hub.forget_requests()
    assert hub.content_bytes() == 0


def test_an_unknown_fault_is_refused_with_those_there_are(hub: LoopbackHub) -> None:
    with pytest.raises(UsageError) as caught:
        hub.faults.add(".", "explode")
    assert "reset" in (caught.value.hint or "")


def test_a_repository_cannot_be_made_twice_nor_be_a_file_and_a_folder(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", {"a": b""})
    with pytest.raises(UsageError):
        hub.add_repo("org/name", {"a": b""})
    with pytest.raises(UsageError):
        hub.add_revision("org/name", {"a": b"", "a/b": b""})


def test_closing_ends_a_stalled_answer_at_once() -> None:
    hub = LoopbackHub(direct=True)
    hub.add_repo("org/name", FILES)
    hub.faults.add("config", "stall:4")
    with httpx2.Client(trust_env=False, timeout=30) as client:
        url = hf_hub_url("org/name", "config.json", endpoint=hub.endpoint)
        with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            hub.close()
            with pytest.raises(httpx2.RemoteProtocolError):
                response.read()
    hub.close()
