"""The JSON report is the document itself: it fits its schema and loses nothing."""

from __future__ import annotations

import json
from typing import ClassVar

import msgspec
import pytest

from manifestd.model.change import Diff, FileDiff, TensorDiff
from tests.contracts.report_suite import (
    HOSTILE,
    ReportSuite,
    failing,
    hostile,
    passing,
    undecided,
)
from tests.support.schemas import check_document


class TestJson(ReportSuite):
    name: ClassVar[str] = "json"

    @pytest.mark.parametrize("diff", [passing(), failing(), undecided()], ids=["pass", "fail", "?"])
    def test_it_fits_its_schema_on_every_run(self, diff: Diff) -> None:
        text = self.render(diff)
        check_document("diff", text)
        assert json.loads(text)["result"] == diff.result

    def test_role_impact_and_lists_of_tensors_are_written_also_when_they_say_nothing(self) -> None:
        plain = FileDiff(path="a.bin", verdict="identical", tensors=TensorDiff(same=1))
        document = json.loads(self.render(msgspec.structs.replace(passing(), files=[plain])))
        assert document["files"] == [
            {
                "path": "a.bin", "verdict": "identical", "role": "other", "impact": "none",
                "tensors": {
                    "same": 1, "unknown": 0, "changed": [], "leftOnly": [], "rightOnly": [],
                    "metadata": "same",
                },
            }
        ]  # fmt: skip

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_names_come_back_as_they_were(self, name: str) -> None:
        diff = hostile(name)
        text = self.render(diff)
        assert msgspec.json.decode(text, type=Diff) == diff
        assert json.loads(text)["files"][0]["path"] == name

    def test_counts_stay_when_identical_files_are_left_out(self) -> None:
        document = json.loads(self.render(failing(), changes_only=True))
        assert document["counts"]["identical"] == 1
        assert all(file["verdict"] != "identical" for file in document["files"])
