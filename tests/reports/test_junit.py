"""The JUnit report loads where CI servers load it, and says what turned the build red."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import ClassVar

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from manifestd.reports.escape import visible
from manifestd.rules.verdicts import Demands
from tests.contracts.report_suite import (
    HOSTILE,
    ReportSuite,
    diff_of,
    failing,
    files_of_every_verdict,
    hostile,
    passing,
    side,
)


class TestJunit(ReportSuite):
    name: ClassVar[str] = "junit"

    def test_a_parser_reads_the_same_numbers(self) -> None:
        suites = JUnitXml.fromstring(self.render(failing()).encode())
        suite = next(iter(suites))
        assert suite.name == "org/model"
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (8, 5, 1, 0)
        kinds = {case.name: [type(result) for result in case.result] for case in suite}
        assert kinds["config.json"] == [Failure]
        assert kinds["unknown.bin"] == [Error]
        assert kinds["same.bin"] == kinds["README.md"] == []

    def test_a_passing_run_has_a_case_even_when_identical_files_are_left_out(self) -> None:
        root = ET.fromstring(self.render(passing(), changes_only=True))
        assert [case.get("name") for case in root.iter("testcase")] == ["(1 identical files)"]
        assert root.get("failures") == "0"

    def test_what_a_demand_tolerates_is_skipped_and_what_it_forbids_fails(self) -> None:
        files = [f for f in files_of_every_verdict() if f.path in {"README.md", "gone.txt"}]
        demands = Demands(strict=True, min_impact="behaviour")
        text = self.render(diff_of(files, demands=demands))
        suite = next(iter(JUnitXml.fromstring(text.encode())))
        kinds = {case.name: [type(result) for result in case.result] for case in suite}
        assert kinds == {"README.md": [Failure], "gone.txt": [Skipped]}

    def test_a_bad_signature_is_a_failing_case(self) -> None:
        text = self.render(diff_of([], left=side(signature="invalid")))
        root = ET.fromstring(text)
        assert [case.get("name") for case in root.iter("testcase")] == ["(left: signature)"]
        assert root.get("failures") == "1"

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_hostile_names_stay_attribute_values(self, name: str) -> None:
        root = ET.fromstring(self.render(hostile(name)))
        tags = {"testsuites", "testsuite", "properties", "property", "testcase", "failure", "error"}
        assert {element.tag for element in root.iter()} <= tags
        assert {case.get("name") for case in root.iter("testcase")} >= {visible(name)}
