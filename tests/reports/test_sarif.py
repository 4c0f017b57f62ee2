"""The SARIF report has the shape that code scanning takes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urljoin, urlsplit

import jsonschema
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

TEXT: dict[str, Any] = {
    "type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}},
}  # fmt: skip
SHAPE: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["ruleId", "message", "level"],
                            "properties": {
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": TEXT,
                                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                            },
                        },
                    }
                },
            },
        },
    },
}
"""The part of SARIF 2.1.0 (section 3) that we write; the whole schema is taken from
``SARIF_SCHEMA`` where that names a file."""


class TestSarif(ReportSuite):
    name: ClassVar[str] = "sarif"
    lists_identical: ClassVar[bool] = False

    @pytest.mark.parametrize(
        "diff", [passing(), failing(), undecided(), *map(hostile, HOSTILE.values())]
    )
    def test_it_fits_the_schema(self, diff: Any) -> None:
        document = json.loads(self.render(diff))
        jsonschema.validate(document, SHAPE)
        whole = os.environ.get("SARIF_SCHEMA")
        if whole:
            schema = json.loads(Path(whole).read_text(encoding="utf-8"))
            jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())

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
        [found] = json.loads(text)["runs"][0]["results"]
        assert (found["ruleId"], found["level"]) == ("signature", "error")

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
