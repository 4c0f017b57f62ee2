"""A model that was retired is shown and does not count; one that nobody retired always counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from manifestd.config import Config, parse_config
from manifestd.model.run import RunModel
from manifestd.store import Store, open_store
from manifestd.workflows.metrics import metrics_of
from manifestd.workflows.site import page_name, write_site
from manifestd.workflows.status import status_of
from tests.reports.run_making import drifted, failure, keep_run, passing, run_of
from tests.support.schemas import check_document
from tests.workflows.run_world import World, configure, flip, publish, ran

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
SELECT = '[[select]]\nhf = { author = "acme" }\n'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "s.db", write=True) as opened:
        yield opened


def config(*names: str, more: str = "") -> Config:
    text = "".join(f'[[model]]\nname = "{name}"\n' for name in names) + more
    return parse_config(text.encode(), Path("manifestd.toml"))


def kept(store: Store, *models: RunModel, **more: Any) -> None:
    """Keep one more run, an hour after the last."""
    number = len(store.runs.list())
    run_id = f"20260301T{number:02}0000Z-00000000"
    keep_run(store, run_of(*models, **{"run_id": run_id, "found": [], **more}))


def off(store: Store, now: Config | None) -> set[str]:
    found = status_of(store, NOW, config=now)
    return {model.name for model in found.models if not model.listed}


class TestWithoutSelect:
    """Only ``[[model]]`` says who is on the list."""

    def test_what_is_not_written_any_more_is_off_the_list(self, store: Store) -> None:
        kept(store, passing("a"), drifted("b"))
        found = status_of(store, NOW, config=config("a"))
        assert [(model.name, model.listed) for model in found.models] == [("a", True), ("b", False)]
        assert (found.counts.passed, found.counts.fail) == (1, 0)
        assert off(store, config("a", "b")) == set()

    def test_without_models_in_a_configuration_nothing_is_off_the_list(self, store: Store) -> None:
        kept(store, drifted("b"))
        for now in (None, Config(), config(more="[store]\n")):
            found = status_of(store, NOW, config=now)
            assert (found.models[0].listed, found.counts.fail) == (True, 1)

    def test_models_of_another_list_stay(self, store: Store) -> None:
        kept(store, drifted("b"))
        kept(store, drifted("b"), scope="list")
        kept(store, passing("a"))
        assert off(store, config("a")) == set()
        kept(store, drifted("b"), scope="some")
        assert off(store, config("a")) == {"b"}

    def test_a_run_that_was_killed_does_not_say_whose_models_it_had(self, store: Store) -> None:
        number = store.runs.start("20260301T230000Z-00000000", "2026-03-01T23:00:00Z")
        store.runs.add(number, 0, drifted("b"))
        assert off(store, config("a")) == set()

    def test_before_a_run_that_was_killed_another_may_say_it(self, store: Store) -> None:
        kept(store, drifted("b"))
        number = store.runs.start("20260301T230000Z-00000000", "2026-03-01T23:00:00Z")
        store.runs.add(number, 0, drifted("b"))
        assert off(store, config("a")) == {"b"}


class TestWithSelect:
    """What the last whole run found is on the list as well."""

    NOW = config("w", more=SELECT)

    def test_what_the_last_whole_run_did_not_find_is_off_the_list(self, store: Store) -> None:
        kept(store, passing("w"), passing("a"), drifted("b"), found=["a", "b"])
        assert off(store, self.NOW) == set()
        kept(store, passing("w"), passing("a"), found=["a"])
        assert off(store, self.NOW) == {"b"}

    def test_a_written_model_that_was_found_too_stays_when_it_is_written_no_more(
        self, store: Store
    ) -> None:
        kept(store, passing("w"), drifted("a"), drifted("b"), found=["a"])
        assert off(store, self.NOW) == {"b"}

    def test_a_part_or_another_list_takes_nothing_off_it(self, store: Store) -> None:
        kept(store, passing("w"), drifted("a"), found=["a"])
        kept(store, passing("w"), scope="some", found=[])
        kept(store, passing("w"), scope="list")
        kept(store, passing("w"), interrupted=True, found=[])
        assert off(store, self.NOW) == set()

    def test_what_was_found_since_in_a_part_is_on_it(self, store: Store) -> None:
        kept(store, passing("w"), found=[])
        kept(store, drifted("new"), scope="some", found=["new"])
        assert off(store, self.NOW) == set()
        kept(store, passing("w"), found=[])
        assert off(store, self.NOW) == {"new"}

    def test_an_entry_that_cannot_be_asked_takes_nothing_off_it(self, store: Store) -> None:
        kept(store, passing("w"), passing("gone"), drifted("a"), found=["a", "gone"])
        kept(store, passing("w"), drifted("a"), found=["a"])
        kept(store, passing("w"), errors=[failure()], found=[])
        kept(store, passing("w"), errors=[failure()], found=[])
        assert off(store, self.NOW) == {"gone"}

    def test_without_a_run_that_says_what_is_found_nothing_is_off_it(self, store: Store) -> None:
        kept(store, drifted("b"), scope="some")
        assert off(store, self.NOW) == set()
        kept(store, drifted("b"), found=None)
        kept(store, drifted("b"), scope="some")
        assert off(store, self.NOW) == set()


def test_metrics_have_only_the_number_of_what_is_off_the_list(store: Store) -> None:
    kept(store, passing("a"), drifted("b"))
    text = "".join(metrics_of(store, NOW, config("a")))
    assert "\nmanifestd_models_off_list 1\n" in text
    assert '\nmanifestd_models{result="fail"} 0\n' in text
    assert 'model="a"' in text
    assert 'model="b"' not in text
    assert "\nmanifestd_models_off_list 0\n" in "".join(metrics_of(store, NOW, config("a", "b")))


def test_the_dashboard_shows_it_last_and_says_so(store: Store, tmp_path: Path) -> None:
    kept(store, passing("a"), drifted("b"))
    write_site(store, tmp_path / "site", NOW, config("a"))
    index = (tmp_path / "site/index.html").read_text()
    assert "1 of 1 models pass" in index
    assert index.index(page_name("a")) < index.index(page_name("b")) < index.index("(off the list)")
    assert index.count("(off the list)") == 1
    assert "Off the list: neither in [[model]] now nor found" in index
    assert "Off the list: " in (tmp_path / "site" / page_name("b")).read_text()
    write_site(store, tmp_path / "site", NOW)
    assert "ff the list" not in (tmp_path / "site/index.html").read_text()


def test_alerts_about_a_retired_model_end_with_the_configuration(world: World) -> None:
    publish(world, "acme/a")
    publish(world, "acme/b", flip)
    configure(world, "acme/a", "acme/b")
    ran(world, code=1)
    assert world.run("status", "--check").code == 1
    configure(world, "acme/a")
    found = world.run("status", "--check")
    assert found.code == 0
    assert "  off the list: model.safetensors is different" in found.out
    assert found.out.endswith(
        "\nOff the list (neither in [[model]] now nor found by the last whole run), "
        "and not counted: 1.\n"
    )
    document = world.run("status", "--format", "json").json
    check_document("status", json.dumps(document))
    assert [model["listed"] for model in document["models"]] == [True, False]
    assert (document["counts"]["fail"], document["exitCode"]) == (0, 0)
    assert 'model="acme/b"' not in world.run("metrics").out
    assert world.run("report", "site", "-o", "site").code == 0
    assert "(off the list)" in (world.home / "site/index.html").read_text()
    # Where it is written again, it counts again.
    configure(world, "acme/a", "acme/b")
    assert world.run("status", "--check").code == 1


def test_offline_leaves_alone_what_was_written_and_is_no_more(world: World) -> None:
    for name in ("acme/a", "other/b", "other/c"):
        publish(world, name)
    configure(world, "other/b", "other/c", more=SELECT)
    assert ran(world, code=0)["found"] == ["acme/a"]
    configure(world, "other/b", more=SELECT)
    document = ran(world, "--offline", code=0)
    assert [model["name"] for model in document["models"]] == ["other/b", "acme/a"]
    assert document["found"] == ["acme/a"]
    assert "other/c  pass" in world.run("status").out
    assert world.run("status").out.count("off the list") == 1
