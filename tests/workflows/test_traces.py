"""Traces: a span for the run, the models and the sides, sent when asked for, and never in the way."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from manifestd.model.entry import Measurement
from manifestd.model.run import RunModel
from manifestd.workflows.traces import traced, wanted
from tests.notifiers.receiver import Receiver, receiver
from tests.reports.run_making import drifted, every_end, gated, passing, run_of

SECOND = 1_000_000_000


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as state:
        state.status = 200
        yield state


class Watching:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def started(self, run_id: str, models: int) -> None:
        self.told.append(("started", run_id, models))

    def reading(self, size: int, files: int) -> None:
        self.told.append(("reading", size, files))

    def bytes(self, count: int) -> None:
        self.told.append(("bytes", count))

    def done(self, measurement: Measurement) -> None:
        self.told.append(("done", measurement.path))

    def judged(self, model: RunModel) -> None:
        self.told.append(("judged", model.name))


class Clock:
    """Ten seconds pass between two looks."""

    now = 1_772_000_000 * SECOND

    def __call__(self) -> int:
        self.now += 10 * SECOND
        return self.now


def play(environ: dict[str, str], *models: RunModel, watcher: Watching | None = None) -> None:
    with traced(watcher or Watching(), environ, clock=Clock()) as watching:
        watching.started("20260301T101500Z-0123abcd", len(models))
        watching.reading(10, 1)
        watching.bytes(10)
        watching.done(Measurement(path="x"))
        for model in models:
            watching.judged(model)


def endpoint(state: Receiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{state.port}"}


def spans(state: Receiver) -> list[dict[str, Any]]:
    found = []
    for path, headers, body in state.posts:
        assert path == "/v1/traces"
        assert headers["content-type"] == "application/json"
        for resource in json.loads(body)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                found += scope["spans"]
    return found


def attributes(item: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in item["attributes"]}


def test_a_run_is_a_tree_of_spans(collector: Receiver) -> None:
    play(endpoint(collector), passing(), gated())
    found = spans(collector)
    assert sorted(span["name"] for span in found) == [
        "manifestd run", "model", "model", "side", "side", "side", "side",
    ]  # fmt: skip
    [run] = [span for span in found if span["name"] == "manifestd run"]
    models = {attributes(s)["manifestd.model"]: s for s in found if s["name"] == "model"}
    assert "parentSpanId" not in run
    assert {span["traceId"] for span in found} == {run["traceId"]}
    assert {span["parentSpanId"] for span in models.values()} == {run["spanId"]}
    sides = [s for s in found if s.get("parentSpanId") == models["acme/gated"]["spanId"]]
    assert {attributes(side)["manifestd.side"] for side in sides} == {"hub", "mirror"}
    [hub] = [side for side in sides if attributes(side)["manifestd.side"] == "hub"]
    assert hub["status"]["code"] == 2
    assert attributes(hub)["error.type"] == "access-denied"
    assert models["acme/fine"]["status"] == {"code": 0}
    assert attributes(run)["manifestd.run.error"] == "1"
    assert attributes(run)["manifestd.run.id"] == "20260301T101500Z-0123abcd"


def test_times_follow_from_when_models_end_and_how_long_they_took(collector: Receiver) -> None:
    play(endpoint(collector), passing())
    by_name = {attributes(s).get("manifestd.side", s["name"]): s for s in spans(collector)}
    times = {
        name: (int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]))
        for name, span in by_name.items()
    }
    start = 1_772_000_000 * SECOND
    assert times["manifestd run"] == (start + 10 * SECOND, start + 30 * SECOND)
    assert times["model"] == (start + 20 * SECOND - int(1.25 * SECOND), start + 20 * SECOND)
    assert times["hub"][0] == times["model"][0]
    assert times["hub"][1] - times["hub"][0] == int(0.8 * SECOND)
    assert times["mirror"][0] == times["hub"][1]


def test_who_watches_besides_hears_everything(collector: Receiver) -> None:
    watcher = Watching()
    play(endpoint(collector), passing(), watcher=watcher)
    assert [told[0] for told in watcher.told] == ["started", "reading", "bytes", "done", "judged"]


def test_a_pipeline_s_own_span_is_the_parent(collector: Receiver) -> None:
    above = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    play({**endpoint(collector), "TRACEPARENT": above}, passing())
    [run] = [span for span in spans(collector) if span["name"] == "manifestd run"]
    assert run["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert run["parentSpanId"] == "00f067aa0ba902b7"


def test_headers_and_the_traces_endpoint_of_the_environment_are_used(collector: Receiver) -> None:
    play(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://does-not-exist.invalid",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{collector.port}/v1/traces",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc, x-tenant = models",
        },
        passing(),
    )
    assert collector.posts[0][1]["authorization"] == "Bearer abc"
    assert collector.posts[0][1]["x-tenant"] == "models"


def test_a_thousand_models_lose_no_span(collector: Receiver) -> None:
    play(endpoint(collector), *(passing(f"m/{number}") for number in range(1000)))
    assert len(spans(collector)) == 3001


def test_a_failing_run_is_marked(collector: Receiver) -> None:
    def stopped() -> None:
        with traced(Watching(), endpoint(collector)) as watching:
            watching.started("r", 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    [run] = spans(collector)
    assert run["status"] == {"code": 2, "message": "KeyboardInterrupt"}


def test_a_collector_that_is_away_or_refuses_is_logged_once_and_changes_nothing(
    collector: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = 403
    with caplog.at_level(logging.WARNING, logger="manifestd"):
        play(endpoint(collector), drifted())
        play({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, drifted())
        play({"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"}, drifted())
        play({"OTEL_TRACES_EXPORTER": "no-such-exporter"}, drifted())
    texts = [
        record.getMessage() for record in caplog.records if record.name.startswith("manifestd")
    ]
    assert len(texts) == 4
    assert "403" in texts[0]


def test_spans_can_be_shown_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    play({"OTEL_TRACES_EXPORTER": "console"}, passing())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert '"manifestd.model": "acme/fine"' in captured.err


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, []),
    ],
)
def test_the_environment_decides(environ: dict[str, str], names: list[str]) -> None:
    assert wanted(environ) == names


def test_without_the_wish_nothing_is_loaded_and_nobody_is_between() -> None:
    program = (
        "import sys\nfrom manifestd.workflows.traces import traced\n"
        "with traced('w', {}) as w: assert w == 'w'\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_the_library_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    watcher = Watching()
    with caplog.at_level(logging.WARNING, logger="manifestd"):
        play({"OTEL_TRACES_EXPORTER": "console"}, *run_of(passing()).models, watcher=watcher)
    assert "pip install 'manifestd[otel]'" in caplog.text
    assert ("judged", "acme/fine") in watcher.told


def test_every_end_of_a_model_has_a_span(collector: Receiver) -> None:
    models = every_end().models
    play(endpoint(collector), *models)
    found = [span for span in spans(collector) if span["name"] == "model"]
    assert [attributes(span)["manifestd.result"] for span in found] == [m.result for m in models]
