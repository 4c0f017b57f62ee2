"""The Hub source over a loopback Hub: resolving, listing, and what both say of the repository."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping

import pytest
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from manifestd.errors import ChangedError, EmptySourceError, UnreachableError, UnreadableError
from manifestd.loopback.hub import LoopbackHub
from manifestd.model.entry import Entry, Problem
from manifestd.sources.hub import HubSource
from tests.contracts.source_suite import ODD_NAMES, Place, SourceContract, content, everything
from tests.loopback.hub_support import FILES, WEIGHTS, Naps, source_over


class HubPlace:
    def __init__(self, server: LoopbackHub) -> None:
        self._hub = server
        self._made = 0
        self._tree: dict[str, bytes] = {}

    def make(self, tree: Mapping[str, bytes]) -> HubSource:
        self._made += 1
        self._tree = dict(tree)
        self._hub.add_repo(f"org/name{self._made}", tree)
        return source_over(self._hub, f"org/name{self._made}")

    def change(self, path: str, data: bytes) -> None:
        self._tree[path] = data
        self._hub.add_revision(f"org/name{self._made}", self._tree)

    def missing(self) -> HubSource:
        return source_over(self._hub, "org/missing")


class TestHub(SourceContract):
    changes_show = False  # a commit does not change; tests below move the branch instead

    @pytest.fixture
    def place(self, hub: LoopbackHub) -> Place:
        return HubPlace(hub)


class TestMirror(SourceContract):
    """The same over a Hub that serves every file from where it was asked for."""

    changes_show = False

    @pytest.fixture
    def place(self, hub: LoopbackHub) -> Place:
        hub.direct = True
        return HubPlace(hub)


def test_a_revision_resolves_to_its_commit_and_a_name(hub: LoopbackHub) -> None:
    first = hub.add_repo("org/name", FILES, card={"license": "mit"})
    second = hub.add_revision("org/name", {"a.txt": b"2"}, branch="dev/next")
    hub.add_tag("org/name", "v1", first)
    for reference, requested, commit in (
        ("org/name", "main", first),
        ("org/name@v1", "v1", first),
        ("org/name@dev/next", "dev/next", second),
        (f"org/name@{second}", second, second),
    ):
        resolved = source_over(hub, reference).resolve()
        assert (resolved.place, resolved.name) == ("hf://org/name", "org/name")
        assert (resolved.requested, resolved.revision) == (requested, commit)
        assert resolved.facts["license"] == "mit"
        assert resolved.facts["gated"] is False
        assert resolved.facts["endpoint"] == hub.endpoint
        assert resolved.notes == ()


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
def test_datasets_and_spaces_are_sources_of_their_own(hub: LoopbackHub, repo_type: str) -> None:
    hub.add_repo("org/name", {"a.txt": b"model"})
    hub.add_repo(
        "org/name",
        {"a.txt": b"text", "b.parquet": b"data"},
        repo_type=repo_type,  # type: ignore[arg-type]
    )
    source = source_over(hub, f"hf://{repo_type}s/org/name")
    resolved = source.resolve()
    assert resolved.place == f"hf://{repo_type}s/org/name"
    entries, _ = everything(source, resolved)
    assert content(source, resolved, entries["a.txt"]) == b"text"
    assert content(source, resolved, entries["b.parquet"]) == b"data"


def test_a_listing_declares_what_the_hub_declares_and_reads_no_content(hub: LoopbackHub) -> None:
    commit = hub.add_repo("org/name", FILES)
    source = source_over(hub)
    entries, problems = everything(source, source.resolve())
    assert problems == []
    lfs, text = entries["model.safetensors"], entries["config.json"]
    assert lfs.digests["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert lfs.digests.keys() == {"sha256", "xet"}, "the blob id of an LFS file is its pointer's"
    assert text.digests.keys() == {"sha1-git"}
    data = FILES["config.json"]
    assert text.digests["sha1-git"] == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    assert set(lfs.evidence.values()) == set(text.evidence.values()) == {"declared"}
    assert text.identity == {"commit": commit, "blobId": text.digests["sha1-git"]}
    assert lfs.identity["blobId"] != text.identity["blobId"]
    assert hub.content_bytes() == 0
    assert source.requests == len(hub.requests) == 2


def test_the_listing_agrees_with_the_client_library(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", {**FILES, **{name: name.encode() for name in ODD_NAMES}})
    source = source_over(hub)
    ours, _ = everything(source, source.resolve())
    api = HfApi(endpoint=hub.endpoint, token=False)
    theirs = {
        line.path: line
        for line in api.list_repo_tree("org/name", recursive=True)
        if isinstance(line, RepoFile)
    }
    assert ours.keys() == theirs.keys()
    for path, line in theirs.items():
        assert (ours[path].size, ours[path].identity["blobId"]) == (line.size, line.blob_id)
        assert ours[path].digests.get("sha256") == (line.lfs.sha256 if line.lfs else None)
        assert ours[path].digests.get("xet") == line.xet_hash


def test_2500_files_come_over_pages_each_once(hub: LoopbackHub) -> None:
    tree = {f"data/{number % 7}/{number:05}.txt": b"%d" % number for number in range(2500)}
    hub.add_repo("org/name", tree)
    source = source_over(hub)
    entries, problems = everything(source, source.resolve())
    assert problems == []
    assert entries.keys() == tree.keys()
    # The folders are on the pages too: 2,508 lines, 3 pages, and the info.
    assert source.requests == 4


def test_a_branch_that_moves_between_pages_does_not_mix_revisions(hub: LoopbackHub) -> None:
    hub.page_size = 2
    old = {f"{letter}.txt": letter.encode() for letter in "abcdefgh"}
    commit = hub.add_repo("org/name", old)
    hub.faults.add(
        "/tree/",
        lambda: hub.add_revision("org/name", dict.fromkeys("stuvw", b"new and longer")),
        after=1,
    )
    source = source_over(hub)
    resolved = source.resolve()
    entries, problems = everything(source, resolved)
    assert resolved.revision == commit
    assert problems == []
    assert entries.keys() == old.keys()
    assert {content(source, resolved, entry) for entry in entries.values()} == set(old.values())


def test_a_renamed_repository_is_filed_under_its_new_name_and_says_so(hub: LoopbackHub) -> None:
    hub.add_repo("old/name", FILES)
    hub.rename("old/name", "new/name")
    source = source_over(hub, "old/name@main")
    resolved = source.resolve()
    assert (resolved.place, resolved.name) == ("hf://new/name", "new/name")
    assert resolved.facts["renamedFrom"] == "old/name"
    assert [(note.code, note.severity) for note in resolved.notes] == [("renamed", "note")]
    entries, _ = everything(source, resolved)
    assert content(source, resolved, entries["model.safetensors"]) == WEIGHTS


def test_a_gated_repository_can_be_listed_by_anyone_and_says_what_reading_needs(
    hub: LoopbackHub,
) -> None:
    hub.add_repo("org/name", FILES, gated="manual")
    source = source_over(hub)
    resolved = source.resolve()
    assert resolved.facts["gated"] == "manual"
    assert [note.code for note in resolved.notes] == ["gated"]
    entries, _ = everything(source, resolved)
    assert "sha256" in entries["model.safetensors"].digests


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({"license": ["mit", "apache-2.0"]}, {"license": ["mit", "apache-2.0"]}),
        (
            {"license": "other", "license_name": "own", "license_link": "LICENSE"},
            {"license": "other", "licenseName": "own", "licenseLink": "LICENSE"},
        ),
        ({"license": {"odd": 1}}, {}),
        ({"license": "x" * 5000}, {"license": "x" * 300}),
        ({}, {}),
    ],
)
def test_the_licence_is_kept_as_the_card_states_it(
    hub: LoopbackHub, card: dict[str, object], expected: dict[str, object]
) -> None:
    hub.add_repo("org/name", FILES, card=card)
    facts = source_over(hub).resolve().facts
    assert {key: value for key, value in facts.items() if key.startswith("license")} == expected


def test_a_commit_without_files_is_an_error(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", {})
    source = source_over(hub)
    with pytest.raises(EmptySourceError):
        everything(source, source.resolve())


# -- listings that lie -----------------------------------------------------------------------


def test_a_short_listing_is_noticed_by_the_names_of_the_info(hub: LoopbackHub) -> None:
    hub.page_size = 3
    hub.add_repo("org/name", FILES)
    hub.faults.add("/tree/", "last-page")
    source = source_over(hub)
    _, problems = everything(source, source.resolve())
    assert [(problem.code, problem.severity) for problem in problems] == [
        ("listing-incomplete", "error")
    ]
    assert "config.json" in problems[0].what


def test_a_short_listing_of_many_files_is_noticed_by_its_folders(hub: LoopbackHub) -> None:
    # 1,200 files: too many for the names of the info to be relied on. The page ends between
    # a folder's line and its files.
    hub.page_size = 1101
    tree = {f"a/{number:04}.txt": b"" for number in range(1099)}
    tree |= {f"b/{number:04}.txt": b"" for number in range(101)}
    hub.add_repo("org/name", tree)
    hub.faults.add("/tree/", "last-page")
    source = source_over(hub)
    _, problems = everything(source, source.resolve())
    assert [problem.code for problem in problems] == ["listing-incomplete"]
    assert "'b'" in problems[0].what


def test_a_file_whose_folder_is_not_listed_shows_that_lines_are_missing() -> None:
    from manifestd.sources.hub_listing import Listing, TreeLine

    listing = Listing("c" * 40, None)
    for kind, path in (("directory", "a"), ("file", "a/x"), ("file", "b/x")):
        list(listing.take(TreeLine(type=kind, path=path, oid="0" * 40)))
    (problem,) = listing.end()
    assert problem.code == "listing-incomplete"
    assert "'b'" in problem.what


def test_pages_that_go_round_in_circles_end(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    source = source_over(hub)
    resolved = source.resolve()
    empty_page = f"/api/models/org/name/tree/{resolved.revision}?cursor=999"
    hub.faults.add("/tree/", f"next:{empty_page}", times=20)
    with pytest.raises(UnreachableError, match="circles"):
        everything(source, resolved)


def test_pages_that_repeat_a_path_or_themselves_are_no_listing(hub: LoopbackHub) -> None:
    hub.page_size = 2
    hub.add_repo("org/name", FILES)
    source = source_over(hub)
    resolved = source.resolve()
    hub.faults.add("/tree/", f"next:/api/models/org/name/tree/{resolved.revision}?recursive=true")
    with pytest.raises(UnreachableError, match="twice"):
        everything(source, resolved)


def test_a_listing_that_goes_on_at_another_host_is_refused(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    hub.faults.add("/tree/", f"next:{hub.store_endpoint}/api/models/org/name/tree/x")
    source = source_over(hub)
    with pytest.raises(UnreachableError, match="another host"):
        everything(source, source.resolve())
    assert not [exchange for exchange in hub.requests if exchange.origin == "cdn"]


@pytest.mark.parametrize("link", ["http://[::1", "http://127.0.0.1:port/", "/api/models?\x01"])
def test_a_listing_that_goes_on_nowhere_is_no_listing(hub: LoopbackHub, link: str) -> None:
    hub.add_repo("org/name", FILES)
    hub.faults.add("/tree/", f"next:{link}")
    source = source_over(hub)
    with pytest.raises(UnreachableError, match="address that is none"):
        everything(source, source.resolve())


def test_a_declared_sha256_that_does_not_belong_to_the_commit_is_noted() -> None:
    from manifestd.sources.hub_listing import LfsLine, Listing, TreeLine

    line = TreeLine(
        type="file",
        path="w.bin",
        oid="0" * 40,
        size=4,
        lfs=LfsLine(oid="a" * 64, size=4, pointer_size=126),
    )
    note, entry = Listing("c" * 40, None).take(line)
    assert isinstance(note, Problem)
    assert isinstance(entry, Entry)
    assert (note.code, note.severity) == ("lfs-pointer-mismatch", "note")
    assert entry.digests == {"sha256": "a" * 64}
    assert entry.problem is None


@pytest.mark.parametrize(
    "lfs_oid", ["a" * 40, "A" * 64, "", "sha256:" + "a" * 64], ids=["sha1", "upper", "none", "name"]
)
def test_a_digest_of_another_shape_is_never_taken_for_a_sha256(lfs_oid: str) -> None:
    from manifestd.sources.hub_listing import LfsLine, Listing, TreeLine

    line = TreeLine(
        type="file", path="w.bin", oid="0" * 40, size=4, lfs=LfsLine(oid=lfs_oid, size=4)
    )
    note, entry = Listing("c" * 40, None).take(line)
    assert isinstance(entry, Entry)
    assert isinstance(note, Problem)
    assert "sha256" not in entry.digests
    assert note.code == "malformed"


@pytest.mark.parametrize(
    ("path", "size"),
    [("../up", 1), ("a//b", 1), ("/abs", 1), ("a/./b", 1), ("", 1), ("ok", -1), ("ok", 2**60)],
)
def test_a_line_git_could_not_hold_is_kept_literally_and_never_asked_for(
    hub: LoopbackHub, path: str, size: int
) -> None:
    from manifestd.sources.hub_listing import Listing, TreeLine

    hub.add_repo("org/name", FILES)
    source = source_over(hub)
    resolved = source.resolve()
    line = TreeLine(type="file", path=path, oid="0" * 40, size=size)
    (entry,) = Listing(resolved.revision or "", None).take(line)
    assert isinstance(entry, Entry)
    assert entry.path == path
    assert entry.problem is not None
    before = source.requests
    with pytest.raises(UnreadableError):
        source.open(resolved, entry)
    assert source.requests == before


def test_what_is_neither_file_nor_folder_is_a_problem() -> None:
    from manifestd.sources.hub_listing import Listing, TreeLine

    (problem,) = Listing("c" * 40, None).take(TreeLine(type="submodule", path="vendored"))
    assert isinstance(problem, Problem)
    assert (problem.path, problem.code) == ("vendored", "special-file")


def test_another_commit_than_the_one_asked_for_is_refused(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    wanted = "1" * 40
    hub.move_branch("org/name", source_over(hub).resolve().revision or "", branch=wanted)
    with pytest.raises(ChangedError):
        source_over(hub, f"org/name@{wanted}").resolve()


def test_a_log_in_page_is_not_taken_for_the_hub(hub: LoopbackHub, naps: Naps) -> None:
    hub.faults.add("/api/", "garbage")
    with pytest.raises(UnreachableError) as caught:
        source_over(hub, naps=naps).resolve()
    assert "does not answer as a Hub does" in caught.value.what
    assert "HF_ENDPOINT" in (caught.value.hint or "")


def test_importing_the_source_sends_nothing_and_switches_telemetry_off() -> None:
    code = (
        "import os, manifestd.sources.hub as h\n"
        "assert os.environ['HF_HUB_DISABLE_TELEMETRY'] == '1'\n"
        "import sys; assert 'boto3' not in sys.modules\n"
        "assert 'huggingface_hub.hf_api' not in sys.modules, 'it costs 0.1 s'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
