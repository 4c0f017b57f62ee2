"""The CSV report: one row a file, safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import ClassVar

import pytest

from tests.contracts.report_suite import HOSTILE, ReportSuite, failing, hostile


class TestCsv(ReportSuite):
    name: ClassVar[str] = "csv"
    shows_warnings: ClassVar[bool] = False

    def test_each_file_is_one_row_with_its_result(self) -> None:
        rows = list(csv.DictReader(io.StringIO(self.render(failing()))))
        assert [(row["path"], row["verdict"], row["result"]) for row in rows] == [
            ("README.md", "equivalent", "pass"),
            ("config.json", "different", "fail"),
            ("gone.txt", "leftOnly", "fail"),
            ("new.py", "rightOnly", "fail"),
            ("same.bin", "identical", "pass"),
            ("unknown.bin", "unverifiable", "unknown"),
            ("vocab.txt", "moved", "fail"),
            ("weights.safetensors", "different", "fail"),
        ]
        assert rows[1]["left_sha256"] == "3" * 64
        assert (rows[2]["right_size"], rows[6]["moved_from"]) == ("", "old/vocab.txt")

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_no_cell_starts_a_formula(self, name: str) -> None:
        for row in csv.reader(io.StringIO(self.render(hostile(name)))):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
