"""What went wrong with a run itself stands in every report of it, beside its models."""

from __future__ import annotations

import csv
import io
import json

import pytest
from junitparser import Error, JUnitXml

from manifestd.cli.github import tell_github
from manifestd.model.run import Run
from manifestd.model.run_view import ListedRun, document_pieces
from manifestd.reports import REPORTS
from manifestd.reports.base import ReportOptions
from manifestd.reports.run_telling import result_of, run_headline
from tests.contracts.report_suite import HOSTILE
from tests.reports.run_making import drifted, failure, passing, run_of
from tests.support.sarif import check_sarif
from tests.support.schemas import check_document


def broken(what: str = "select[0].hf: the Hub is down", why: str = "503", **more: object) -> Run:
    """A run whose only model passes."""
    error = failure(
        "source-unreachable", what=what, why=why, hint="run again", facts={"models": []}, **more
    )
    return run_of(passing(), errors=[error], exit_code=3)


def render(name: str, run: Run, *, changes_only: bool = True) -> str:
    options = ReportOptions(changes_only=changes_only)
    return "".join(REPORTS.load(name)().run(ListedRun(run), options))


@pytest.mark.parametrize("name", REPORTS.names())
def test_every_report_says_it_with_its_hint(name: str) -> None:
    text = render(name, broken()).replace("\\", "").replace("&#91;", "[").replace("&#93;", "]")
    assert "select[0].hf: the Hub is down" in text
    assert "503" in text
    assert "run again" in text


@pytest.mark.parametrize("name", ["text", "markdown", "html"])
def test_such_a_run_is_never_headed_as_passed(name: str) -> None:
    text = render(name, broken(), changes_only=False)
    head = text[text.index("<h1>") :] if name == "html" else text
    assert "ERROR" in head[:120]
    assert "MISSING" in head[:300]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", REPORTS.names())
def test_nothing_in_it_acts_or_adds_lines(name: str, hostile: str) -> None:
    lines = render(name, broken("gone", "x")).count("\n")
    text = render(name, broken(f"gone{hostile}", hostile))
    assert "<script" not in text or name in {"json", "text", "csv", "sarif"}
    assert "\x1b" not in text
    assert text.count("\n") == lines


def test_its_result_stands_between_failures_and_what_is_undecided() -> None:
    assert result_of(broken()) == "error"
    assert result_of(run_of(drifted(), errors=broken().errors)) == "fail"
    assert run_headline(broken()) == "the model passed; models may be MISSING"


def test_junit_has_a_suite_of_its_own_for_it() -> None:
    suites = list(JUnitXml.fromstring(render("junit", broken(), changes_only=False).encode()))
    assert [suite.name for suite in suites] == ["(run)", passing().name]
    [case] = suites[0]
    assert (case.name, [type(each) for each in case.result]) == (
        "(source-unreachable)", [Error],
    )  # fmt: skip


def test_sarif_fits_the_schema_and_says_that_it_was_no_success() -> None:
    [run] = check_sarif(render("sarif", broken()))["runs"]
    [result] = [result for result in run["results"] if result["ruleId"] == "run"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "run"
    assert result["level"] == "error"
    assert run["invocations"][0]["executionSuccessful"] is False


def test_csv_has_a_row_of_no_model_for_it() -> None:
    [row] = list(csv.DictReader(io.StringIO(render("csv", broken()))))
    assert (row["model"], row["kind"], row["verdict"], row["result"], row["hint"]) == (
        "", "run", "source-unreachable", "error", "run again",
    )  # fmt: skip


def test_the_document_is_whole_and_as_described() -> None:
    check_document("run", render("json", broken()))
    pieces = b"".join(document_pieces(ListedRun(broken())))
    assert [model["name"] for model in json.loads(pieces)["models"]] == [passing().name]


def test_github_gets_an_annotation(capsys: pytest.CaptureFixture[str]) -> None:
    tell_github(ListedRun(broken()), {"GITHUB_ACTIONS": "true"})
    assert (
        "::error title=manifestd%3A run::select[0].hf: the Hub is down" in capsys.readouterr().err
    )
