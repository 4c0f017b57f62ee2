"""The terminal report: verdict first, then what matters, then the table."""

from __future__ import annotations

import re
from typing import ClassVar

from manifestd.rules.verdicts import Demands
from tests.contracts.report_suite import (
    ReportSuite,
    diff_of,
    failing,
    files_of_every_verdict,
    passing,
    side,
    undecided,
)


class TestText(ReportSuite):
    name: ClassVar[str] = "text"
    lists_identical: ClassVar[bool] = False

    def test_the_first_line_is_the_verdict(self) -> None:
        assert self.render(passing()).splitlines()[0] == "PASS  identical: 1 file is identical"
        assert self.render(failing()).splitlines()[0] == (
            "FAIL  different: 2 files differ, 1 is missing on the right, 1 is only on the right, "
            "1 cannot be decided, 1 moved, 1 is equivalent; 1 file is identical"
        )
        assert self.render(undecided()).splitlines()[0] == (
            "UNKNOWN  unverifiable: 1 cannot be decided; 1 file is identical"
        )

    def test_a_failure_that_only_a_demand_makes_says_which_demand(self) -> None:
        only = [file for file in files_of_every_verdict() if file.verdict == "equivalent"]
        diff = diff_of(only, demands=Demands(strict=True), unlisted=2)
        assert self.render(diff).splitlines()[0] == (
            "FAIL  equivalent: 1 is equivalent; 2 files are identical; "
            "--strict fails what is only equivalent"
        )
        assert "strict" not in self.render(diff_of(only, unlisted=2))

    def test_security_comes_first_then_weights_before_other_behaviour(self) -> None:
        text = self.render(failing())
        first = re.findall(r"^  (\d)\. (\S+): ", text, re.MULTILINE)
        assert first == [("1", "new.py"), ("2", "weights.safetensors"), ("3", "config.json")]

    def test_a_side_that_is_not_signed_is_said(self) -> None:
        for state, words in (
            ("unsigned", "NOT SIGNED"),
            ("untrusted", "DOES NOT COUNT"),
            ("invalid", "DOES NOT VERIFY"),
        ):
            assert words in self.render(diff_of([], right=side(signature=state)))

    def test_changes_show_old_and_new(self) -> None:
        text = self.render(failing())
        assert "2 keys changed (numbers are computed in another type)\n" in text
        assert '/torch_dtype: "float16" -> "bfloat16"\n' in text
        assert '/new: added {"a":[1,2]}' in text
        assert "/old: removed null" in text
        assert "and 7 more changes" in text
        assert "147 tensors the same, 1 changed (h.0.attn.c_attn.weight), metadata changed" in text

    def test_the_hint_says_what_to_run(self) -> None:
        assert "hint: run `manifestd snapshot s3 s3://b/p/ --read missing`" in self.render(
            failing()
        )

    def test_colours_are_used_only_where_wanted(self) -> None:
        assert "\x1b" not in self.render(failing())
        painted = self.render(failing(), color=True)
        assert painted.startswith("\x1b[1;31mFAIL")
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == self.render(failing())

    def test_a_very_long_list_is_cut_and_counted(self) -> None:
        one = files_of_every_verdict()[1]
        many = [type(one)(path=f"f{n}", verdict="different") for n in range(5003)]
        assert "and 3 more files" in self.render(diff_of(many))
