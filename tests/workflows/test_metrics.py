"""The metrics say what the stored runs say, in a text that Prometheus' own library reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from manifestd.cli.main import run as command_line
from manifestd.store import Store, open_store
from manifestd.workflows import metrics
from manifestd.workflows.metrics import metrics_of
from tests.contracts.report_suite import HOSTILE
from tests.reports.run_making import (
    drifted,
    every_end,
    gated,
    hostile_run,
    keep_run,
    objected,
    passing,
    run_of,
)

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "s.db", write=True) as opened:
        yield opened


def read(pieces: Iterable[str]) -> Found:
    """(name, labels) -> value; no sample stands twice."""
    found: Found = {}
    for family in text_string_to_metric_families("".join(pieces)):
        assert family.type == "gauge", family.name
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def at(found: Found, name: str, **labels: str) -> float:
    return found[(name, frozenset(labels.items()))]


def test_every_model_has_its_result_age_bytes_and_duration(store: Store) -> None:
    keep_run(store, every_end())
    found = read(metrics_of(store, NOW))
    assert at(found, "manifestd_model_result", model="acme/drift", result="fail") == 1
    assert at(found, "manifestd_model_result", model="acme/drift", result="pass") == 0
    assert at(found, "manifestd_model_result", model="acme/gated", result="error") == 1
    assert at(found, "manifestd_model_duration_seconds", model="acme/fine") == 1.25
    assert at(found, "manifestd_side_bytes_read", model="acme/fine", side="hub") == 15_234
    assert at(found, "manifestd_side_bytes_reused", model="acme/fine", side="mirror") == 1_000_000
    looked = datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC).timestamp()
    pass_at = at(found, "manifestd_model_last_pass_timestamp_seconds", model="acme/fine")
    assert pass_at == pytest.approx(looked, abs=0.001)
    age = at(found, "manifestd_model_last_pass_age_seconds", model="acme/fine")
    assert age == pytest.approx(NOW.timestamp() - looked, abs=0.01)
    never = ("manifestd_model_last_pass_age_seconds", frozenset({("model", "acme/drift")}))
    assert never not in found


def test_files_findings_and_sides_are_counted(store: Store) -> None:
    keep_run(store, every_end())
    found = read(metrics_of(store, NOW))
    files = {"model": "acme/drift", "side": "mirror"}
    assert at(found, "manifestd_model_files", **files, verdict="different") == 2
    assert at(found, "manifestd_model_files", **files, verdict="leftOnly") == 1
    assert (
        at(found, "manifestd_side_files", model="acme/fine", side="hub", evidence="measured") == 8
    )
    assert at(found, "manifestd_side_up", model="acme/gated", side="hub") == 0
    assert at(found, "manifestd_side_up", model="acme/gated", side="mirror") == 1
    assert at(found, "manifestd_side_complete", model="acme/unsure", side="mirror") == 0
    rules = {"model": "acme/policy"}
    for rule, severity in (("licenses", "error"), ("forbidden", "waived"), ("security", "warning")):
        name = "manifestd_model_policy_findings"
        assert at(found, name, **rules, rule=rule, severity=severity) == 1


def test_the_last_run_is_told_whole(store: Store) -> None:
    run = every_end()
    keep_run(store, run)
    found = read(metrics_of(store, NOW))
    assert at(found, "manifestd_run_exit_code") == 1
    assert at(found, "manifestd_run_duration_seconds") == 12.25
    assert at(found, "manifestd_run_models", result="fail") == run.counts.fail
    assert at(found, "manifestd_run_timestamp_seconds") == 1_772_360_100
    assert at(found, "manifestd_models", result="error") == 1
    assert at(found, "manifestd_written_timestamp_seconds") == NOW.timestamp()


def test_a_model_left_out_of_the_last_run_keeps_its_own_last_result(store: Store) -> None:
    keep_run(store, run_of(passing("a"), drifted("b")))
    keep_run(store, run_of(gated("a"), run_id="20260302T000000Z-00000000"))
    found = read(metrics_of(store, NOW))
    assert at(found, "manifestd_model_result", model="a", result="error") == 1
    assert at(found, "manifestd_model_result", model="b", result="fail") == 1
    assert at(found, "manifestd_model_last_pass_age_seconds", model="a") > 0
    assert at(found, "manifestd_run_models", result="error") == 1
    assert at(found, "manifestd_run_models", result="fail") == 0


def test_a_store_without_runs_still_says_who_wrote(store: Store) -> None:
    found = read(metrics_of(store, NOW))
    assert {name for name, _ in found} == {
        "manifestd_info", "manifestd_written_timestamp_seconds", "manifestd_models",
        "manifestd_models_off_list",
    }  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_are_label_values(store: Store, name: str) -> None:
    keep_run(store, hostile_run(name))
    keep_run(store, run_of(objected("plain"), run_id="20260302T000000Z-00000000"))
    text = "".join(metrics_of(store, NOW))
    found = read(text)
    assert at(found, "manifestd_model_result", model="plain", result="fail") == 1
    assert len({dict(labels).get("model") for _, labels in found} - {None, "plain"}) == 1
    assert not set(text) & {"\r", "\x0b", "\x0c", "\x1b", "\x85", "\u2028", "\u202e"}


def test_docs_list_exactly_the_metrics_there_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    names = {*metrics._WHOLE, *metrics._PER_RUN, *metrics._PER_MODEL}
    rows = [line for line in text.splitlines() if line.startswith("| `manifestd_")]
    assert {row.split("`")[1].partition("{")[0] for row in rows} == names


def test_the_command_writes_a_file_that_appears_whole(
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_run(store, every_end())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MANIFESTD_CONFIG", raising=False)
    assert command_line(["--store", str(store.path), "metrics", "-o", "m.prom"]) == 0
    assert read((tmp_path / "m.prom").read_text())
    assert [path.name for path in tmp_path.glob("m.prom*")] == ["m.prom"]
    assert command_line(["--store", str(store.path), "metrics"]) == 0
    assert "manifestd_model_result" in capsys.readouterr().out
    assert command_line(["--store", str(tmp_path / "none.db"), "metrics"]) == 3
    assert command_line(["--store", str(store.path), "metrics", "-o", "no/such/m.prom"]) == 3


def test_no_result_is_written_over_the_store_or_the_configuration(
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_run(store, every_end())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MANIFESTD_CONFIG", raising=False)
    (tmp_path / "manifestd.toml").write_text("[store]\n")
    (tmp_path / "link").symlink_to(store.path)
    for target in ("s.db", "s.db-wal", "link", "manifestd.toml"):
        before = (tmp_path / target).read_bytes()
        assert command_line(["--store", "s.db", "metrics", "-o", target]) == 2
        assert "nothing is written over it" in capsys.readouterr().err
        assert (tmp_path / target).read_bytes() == before


def test_the_dashboard_asks_for_metrics_that_there_are_and_its_panels_do_not_overlap() -> None:
    text = (Path(__file__).parents[2] / "docs" / "grafana-dashboard.json").read_text()
    dashboard = json.loads(text)
    known = {*metrics._WHOLE, *metrics._PER_RUN, *metrics._PER_MODEL}
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked.append(dashboard["templating"]["list"][0]["query"]["query"])
    assert all(set(re.findall(r"manifestd_\w+", expression)) <= known for expression in asked)
    assert all(re.search(r"manifestd_\w+", expression) for expression in asked)
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_alerts_in_the_docs_are_yaml_about_metrics_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    rules = yaml.safe_load(block[1])["groups"][0]["rules"]
    known = {*metrics._WHOLE, *metrics._PER_RUN, *metrics._PER_MODEL}
    for rule in rules:
        assert set(re.findall(r"manifestd_\w+", rule["expr"])) <= known
