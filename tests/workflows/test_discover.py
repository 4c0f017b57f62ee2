"""Discovering models against a loopback Hub and moto: what is there, what is listed, what is mirrored."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from manifestd.cli.main import run
from manifestd.config import Config, parse_config
from manifestd.config.shape import HubSelect, Select
from manifestd.errors import (
    AccessDeniedError,
    EmptySourceError,
    SourceNotFoundError,
    UnreachableError,
    UsageError,
)
from manifestd.loopback.hub import LoopbackHub
from manifestd.model.discovery import Discovery
from manifestd.model.reference import parse_s3
from manifestd.sources.base import SourceSettings
from manifestd.sources.hub_discovery import HubDiscovery, HubQuery
from manifestd.sources.s3_discovery import gather, roots_of
from manifestd.sources.s3_listing import Listed
from manifestd.store import Store
from manifestd.workflows.discover import discover_hub, discover_s3
from manifestd.workflows.select import select_models
from tests.support.schemas import check_document
from tests.workflows.stored import keep

QUICK = SourceSettings(retry_budget=0.0, connect_timeout=2.0, read_timeout=5.0)
MODEL = {"config.json": b"{}", "model.safetensors": b"weights"}
SIDES = """
[defaults]
sides = { hub = "hf://{name}@main", mirror = "s3://models/{name}/" }
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub(page_size=2) as server:
        for number in range(5):
            card = {"license": "mit", "tags": ["chat"] if number % 2 else []}
            server.add_repo(f"acme/m{number}", MODEL, card=card)
        server.add_repo("other/gpt-m1", MODEL, gated="auto")
        server.add_repo("acme/data", MODEL, repo_type="dataset")
        server.add_repo("acme/hidden", MODEL, private=True)
        yield server


def config(text: str = "") -> Config:
    return parse_config((SIDES + text).encode(), Path("manifestd.toml"))


def names(hub: LoopbackHub, **conditions: Any) -> list[str]:
    with closing(HubDiscovery(QUICK, environ={"HF_ENDPOINT": hub.endpoint})) as found:
        return [model.name for model in found.models(HubQuery(**conditions))]


def on_hub(hub: LoopbackHub, store: Store | None, text: str, **conditions: Any) -> Discovery:
    environ = {"HF_ENDPOINT": hub.endpoint}
    return discover_hub(HubQuery(**conditions), config(text), store, QUICK, environ=environ)


def told(gaps: list[Any]) -> list[tuple[str, str]]:
    return [(gap.name, gap.what) for gap in gaps]


# -- the Hub --------------------------------------------------------------------------------


def test_all_models_of_an_author_come_over_all_pages_each_once(hub: LoopbackHub) -> None:
    assert names(hub, author="acme") == [f"acme/m{number}" for number in range(5)]
    pages = [exchange for exchange in hub.requests if exchange.path == "/api/models"]
    assert len(pages) == 3


@pytest.mark.parametrize(("conditions", "found"), [
    ({"search": "GPT"}, ["other/gpt-m1"]),
    ({"tags": ["chat"]}, ["acme/m1", "acme/m3"]),
    ({"tags": ["chat", "license:mit"], "search": "m3"}, ["acme/m3"]),
    ({"author": "acme", "limit": 3}, ["acme/m0", "acme/m1", "acme/m2"]),
    ({"limit": 1}, ["acme/m0"]),
    ({"author": "nobody"}, []),
])  # fmt: skip
def test_conditions_hold_together(
    hub: LoopbackHub, conditions: dict[str, Any], found: list[str]
) -> None:
    assert names(hub, **conditions) == found


def test_a_private_model_is_found_with_a_token_only(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_token("hf_ours", "acme/hidden")
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    assert "acme/hidden" in names(hub, author="acme")
    monkeypatch.setenv("HF_TOKEN", "hf_stale")
    with pytest.raises(AccessDeniedError, match="does not accept the token"):
        names(hub, author="acme")


def test_a_collection_gives_its_models_even_those_one_may_not_see(hub: LoopbackHub) -> None:
    hub.add_collection("acme/best-1", "acme/m1", "acme/hidden", "other/gpt-m1")
    hub.add_collection("acme/best-1", "acme/data", repo_type="dataset")
    assert names(hub, collection="acme/best-1") == ["acme/m1", "acme/hidden", "other/gpt-m1"]
    assert names(hub, collection="acme/best-1", author="acme", tags=["chat"]) == ["acme/m1"]
    with pytest.raises(SourceNotFoundError, match="knows no collection acme/none"):
        names(hub, collection="acme/none")


def test_an_entry_that_cannot_be_asked_hides_no_other(hub: LoopbackHub) -> None:
    hub.faults.add("search=gone.*", "status:500", times=None)
    hub.faults.add("author=other", "next:/api/models?author=other&cursor=2", times=None)
    conditions: list[dict[str, Any]] = [
        {"search": "gone"}, {"tags": ["chat"]}, {"author": "other"}, {"collection": "acme/none"},
        {"search": "m4"},
    ]  # fmt: skip
    found = select_models(
        [Select(hf=HubSelect(**each)) for each in conditions],
        QUICK,
        environ={"HF_ENDPOINT": hub.endpoint},
    )
    assert found.names == ["acme/m1", "acme/m3", "acme/m4"]
    assert [error.facts["key"] for error in found.errors] == [
        "select[0].hf", "select[2].hf", "select[3].hf",
    ]  # fmt: skip
    assert [error.code for error in found.errors] == [
        "source-unreachable", "source-unreachable", "source-not-found",
    ]  # fmt: skip
    assert found.errors[2].what.startswith("select[3].hf: ")


def test_several_entries_are_joined_without_repeats(hub: LoopbackHub) -> None:
    select = [Select(hf=HubSelect(tags=["chat"])), Select(hf=HubSelect(search="m1"))]
    found = select_models(select, QUICK, environ={"HF_ENDPOINT": hub.endpoint}).names
    assert found == ["acme/m1", "acme/m3", "other/gpt-m1"]
    assert select_models([], QUICK) == ([], [])


def test_the_whole_hub_is_not_listed_by_accident(hub: LoopbackHub) -> None:
    with pytest.raises(UsageError, match="whole Hub"):
        names(hub)
    assert hub.requests == []


@pytest.mark.parametrize("fault", ["next:http://127.0.0.2:9/x", "garbage", "status:500", "cut:5"])
def test_a_listing_that_breaks_is_an_error_never_a_shorter_list(
    hub: LoopbackHub, fault: str
) -> None:
    hub.faults.add("/api/models", fault, times=None)
    with pytest.raises(UnreachableError):
        names(hub, author="acme")


def test_pages_that_go_round_in_circles_end(hub: LoopbackHub) -> None:
    hub.faults.add("/api/models", "next:/api/models?author=acme&cursor=2", times=None)
    with pytest.raises(UnreachableError, match="circles"):
        names(hub, author="acme")


def test_a_name_that_is_none_is_not_proposed(hub: LoopbackHub) -> None:
    hub.add_repo("acme/../../etc", MODEL)
    with pytest.raises(UnreachableError, match="a name that is none"):
        names(hub, author="acme")


def test_a_found_model_carries_the_hubs_own_facts(hub: LoopbackHub) -> None:
    discovery = HubDiscovery(QUICK, environ={"HF_ENDPOINT": hub.endpoint})
    (model,) = discovery.models(HubQuery(author="other"))
    discovery.close()
    assert (model.reference, model.gated, model.bytes) == ("hf://other/gpt-m1", True, 9)
    assert model.revision == hub.find("model", "other/gpt-m1").branches["main"]  # type: ignore[union-attr]


def test_proposals_can_be_pasted_and_hold_what_the_list_lacks(hub: LoopbackHub) -> None:
    listed = '[[model]]\nname = "acme/m1"\n'
    found = on_hub(hub, None, listed, author="acme")
    whole = config(listed + found.proposals)
    assert [model.name for model in whole.model] == [f"acme/m{n}" for n in (1, 0, 2, 3, 4)]
    assert all(model.sides == {} for model in whole.model)
    assert told(on_hub(hub, None, listed + found.proposals, author="acme").not_mirrored)[0] == (
        "acme/m0",
        "has no snapshot of hub (hf://acme/m0), mirror (s3://models/acme/m0/)",
    )


def test_without_a_fitting_template_a_proposal_says_its_own_side(hub: LoopbackHub) -> None:
    environ = {"HF_ENDPOINT": hub.endpoint}
    found = discover_hub(HubQuery(author="other"), Config(), None, QUICK, environ=environ)
    assert tomllib.loads(found.proposals) == {
        "model": [{"name": "other/gpt-m1", "sides": {"hub": "hf://other/gpt-m1@main"}}]
    }


def test_coverage_is_told_both_ways(hub: LoopbackHub, store: Store) -> None:
    listed = '[[model]]\nname = "acme/m1"\n[[model]]\nname = "acme/lost"\n'
    keep(store, MODEL, source="hf://acme/m1", name="acme/m1")
    keep(store, MODEL, source="s3://models/acme/m1/", name="m1")
    keep(store, MODEL, source="s3://models/stray/", name="stray")
    found = on_hub(hub, store, listed, author="acme")
    assert [name for name, _ in told(found.not_mirrored)] == [f"acme/m{n}" for n in (0, 2, 3, 4)]
    assert told(found.not_listed) == [
        ("stray", "s3://models/stray/ was snapshotted and is a side of no configured model")
    ]
    assert told(found.gone) == [("acme/lost", "hub (hf://acme/lost) is configured and not there")]
    assert not found.covered
    # A narrower query proves nothing gone.
    assert on_hub(hub, store, listed, author="acme", search="m").gone == []


def test_sides_that_hold_different_revisions_are_told(hub: LoopbackHub, store: Store) -> None:
    listed = '[[model]]\nname = "acme/m1"\n'
    old, new = MODEL, MODEL | {"config.json": b'{"v": 2}'}
    side: dict[str, Any] = {"source": "hf://acme/m1", "name": "acme/m1", "requested": "main"}
    keep(store, old, revision="1" * 40, **side)
    keep(store, new, revision="2" * 40, captured_at="2026-03-02T10:00:00Z", **side)
    keep(store, old, source="s3://models/acme/m1/", name="m1")
    found = on_hub(hub, store, listed, author="acme", search="m1")
    commit = hub.find("model", "acme/m1").branches["main"]  # type: ignore[union-attr]
    moved, differ = told(found.disagree)
    assert moved[1].startswith(f"the Hub is at {commit[:12]}, the last snapshot of hub is of 2222")
    assert differ[1].endswith("hub 222222222222, mirror 111111111111 (as hf://acme/m1 did)")


# -- S3 -------------------------------------------------------------------------------------


def put(owner: Any, *keys: str) -> None:
    for key in keys:
        owner.put_object(Bucket="models", Key=key, Body=b"12345")


def listed(*keys: str) -> dict[str, Any]:
    return gather([Listed(key, 5, "", "2026-01-01T00:00:00Z") for key in keys], "")


@pytest.mark.parametrize(("keys", "roots"), [
    (["a/config.json", "a/model.safetensors", "a/onnx/model.onnx", "a/onnx/config.json"], ["a/"]),
    (["org/a/x.gguf", "org/b/x.gguf", "org/readme.md"], ["org/a/", "org/b/"]),
    (["sd/model_index.json", "sd/unet/config.json", "sd/unet/x.safetensors"], ["sd/"]),
    (["a/config.json", "a/onnx/model.onnx"], ["a/"]),
    (["config.json", "a/config.json", "a/x.safetensors"], ["a/"]),
    (["stray.gguf", "a/config.json", "a/x.bin", "b/config.json", "b/x.bin"], ["a/", "b/"]),
    (["config.json", "x.safetensors", "checkpoint-1/config.json", "checkpoint-1/x.safetensors"], [""]),
    (["a/config.json", "a/tokenizer.json"], ["a/"]),
    (["app/config.json", "app/main.js"], []),
    (["docs/a.txt", "logs/x.csv"], []),
    (["a/config.json", "a/x.bin", "a-b/config.json", "a-b/x.bin"], ["a-b/", "a/"]),
    (["a//config.json", "a//x.bin"], ["a//"]),
])  # fmt: skip
def test_a_folder_is_a_model_by_its_files(keys: list[str], roots: list[str]) -> None:
    assert [path for path, _ in roots_of(listed(*keys))] == roots
    assert [path for path, _ in roots_of(listed(*reversed(keys)))] == roots


def test_a_root_counts_all_that_is_below_it() -> None:
    ((_, folder),) = roots_of(listed("a/config.json", "a/x.bin", "a/onnx/y.onnx", "a/b/c/z.md"))
    assert (folder.files, folder.bytes, folder.formats) == (4, 20, {"onnx", "pickle"})


def test_folders_in_a_bucket_are_proposed_with_what_was_seen(s3: Any) -> None:
    put(s3, "acme/one/config.json", "acme/one/model.safetensors", "junk/readme.txt")
    put(s3, 'acme/we"ird{x}\u00e9\x01/x.gguf')
    s3.put_object(Bucket="models", Key="acme/one/", Body=b"")
    found = discover_s3(parse_s3("s3://models"), Config(), None, QUICK)
    assert [(m.reference, m.files, m.formats) for m in found.found] == [
        ("s3://models/acme/one/", 2, ["safetensors"]),
        ('s3://models/acme/we"ird{x}\u00e9\x01/', 1, ["gguf"]),
    ]
    assert found.notes == ["1 object is in no folder that looks like a model"]
    entries = tomllib.loads(found.proposals)["model"]
    assert entries[0] == {"name": "acme/one", "sides": {"mirror": "s3://models/acme/one/"}}
    assert entries[1]["sides"]["mirror"] == 's3://models/acme/we"ird{{x}}\u00e9\x01/'


def test_a_template_turned_round_gives_the_name(s3: Any) -> None:
    put(s3, "llm/acme--one/config.json", "llm/acme--one/x.bin")
    text = '[defaults]\nsides = { mirror = "s3://models/llm/{org}--{repo}/" }'
    settings = parse_config(text.encode(), Path("manifestd.toml"))
    found = discover_s3(parse_s3("s3://models/llm"), settings, None, QUICK)
    assert tomllib.loads(found.proposals) == {"model": [{"name": "acme/one"}]}


def test_the_bucket_is_held_against_list_and_store(s3: Any, store: Store) -> None:
    put(s3, "acme/one/config.json", "acme/one/x.bin", "acme/two/config.json", "acme/two/x.bin")
    keep(store, MODEL, source="s3://models/acme/one/", name="one")
    text = '[[model]]\nname = "acme/one"\n[[model]]\nname = "acme/lost"\n'
    found = discover_s3(parse_s3("s3://models/acme/"), config(text), store, QUICK)
    assert told(found.not_listed) == [
        ("acme/two", "s3://models/acme/two/ is mirrored and not in the configuration")
    ]
    assert told(found.gone) == [
        ("acme/lost", "mirror (s3://models/acme/lost/) is configured and not there")
    ]
    assert told(found.not_mirrored) == [("acme/one", "has no snapshot of hub (hf://acme/one)")]


def test_an_empty_prefix_and_a_missing_bucket_are_errors(s3: Any) -> None:
    with pytest.raises(EmptySourceError):
        discover_s3(parse_s3("s3://models/none/"), Config(), None, QUICK)
    with pytest.raises(SourceNotFoundError):
        discover_s3(parse_s3("s3://no-such-bucket/"), Config(), None, QUICK)


# -- the command ----------------------------------------------------------------------------


def test_the_commands_print_entries_tables_and_documents(
    hub: LoopbackHub, s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    put(s3, "a\x1b[31m/config.json", "a\x1b[31m/x.bin")
    for command in (["hf", "--author", "acme"], ["s3", "s3://models"]):
        assert run(["discover", *command]) == 0
        shown = capsys.readouterr()
        assert tomllib.loads(shown.out)["model"]
        assert "not in the configuration" in shown.err
        assert run(["discover", *command, "--format", "json", "--check"]) == 1
        check_document("discovery", capsys.readouterr().out)
        assert run(["discover", *command, "--format", "text"]) == 0
        shown = capsys.readouterr()
        assert "\x1b" not in shown.out + shown.err
    assert run(["discover", "hf"]) == 2
    assert run(["discover", "s3", "s3://models/none"]) == 3
