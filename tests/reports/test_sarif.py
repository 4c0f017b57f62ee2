"""The SARIF report has the shape that code scanning takes."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from tests.contracts.report_suite import (
    HOSTILE,
    ReportSuite,
    diff_of,
    failing,
    files_of_every_verdict,
    hostile,
    passing,
    side,
    undecided,
)
from tests.support.sarif import check_sarif


class TestSarif(ReportSuite):
    name: ClassVar[str] = "sarif"
    lists_identical: ClassVar[bool] = False

    @pytest.mark.parametrize(
        "diff", [passing(), failing(), undecided(), *map(hostile, HOSTILE.values())]
    )
    def test_it_fits_the_schema(self, diff: Any) -> None:
        check_sarif(self.render(diff))

    def test_levels_follow_the_result_and_rules_are_declared(self) -> None:
        run = json.loads(self.render(failing()))["runs"][0]
        levels = {result["ruleId"]: result["level"] for result in run["results"]}
        assert levels == {
            "different": "error", "leftOnly": "error", "rightOnly": "error", "moved": "error",
            "unverifiable": "warning", "equivalent": "note",
        }  # fmt: skip
        rules = run["tool"]["driver"]["rules"]
        assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])

    def test_a_passing_run_has_no_results(self) -> None:
        assert json.loads(self.render(passing()))["runs"][0]["results"] == []

    def test_a_bad_signature_is_a_result_of_its_own(self) -> None:
        text = self.render(diff_of([], right=side(signature="invalid")))
        [found] = check_sarif(text)["runs"][0]["results"]
        assert (found["ruleId"], found["level"]) == ("signature", "error")
        # GitHub refuses the whole log when one result has no place.
        [place] = found["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "org/model"

    def test_alerts_of_one_model_are_not_those_of_another(self) -> None:
        """Up to its last slash an id is the category, in which an upload replaces the last one."""
        names = ("org/one", "org/two")
        logs = [json.loads(self.render(diff_of([], left=side(name)))) for name in names]
        ids = [log["runs"][0]["automationDetails"]["id"] for log in logs]
        assert len({text.rpartition("/")[0] for text in ids}) == 2

    def test_fingerprints_differ_by_file_and_by_content(self) -> None:
        results = json.loads(self.render(failing()))["runs"][0]["results"]
        assert len({str(result["partialFingerprints"]) for result in results}) == len(results)
        again = json.loads(self.render(diff_of(files_of_every_verdict()[1:2])))["runs"][0][
            "results"
        ]
        assert again[0]["partialFingerprints"] in [r["partialFingerprints"] for r in results]

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_a_path_is_a_relative_uri_without_scheme_or_root(self, name: str) -> None:
        result = json.loads(self.render(hostile(name)))["runs"][0]["results"][0]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
        assert unquote(uri) == name
        assert urljoin("https://base.example/model/", uri).startswith("https://base.example/model/")
