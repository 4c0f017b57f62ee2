"""Changed lines of code read as they stand, and no two of them look alike."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manifestd.reports.escape import visible

LINES = st.text(st.sampled_from("\\\\\\xuUn1b0\x1b\x00\té\u0301\u202e a"), max_size=12)


@pytest.mark.parametrize(
    "line", [r'  + {{- "{\n" }}', r"  - \d+\s*\\", r"  + C:\temp\new", "  - a\\"]
)
def test_a_backslash_in_a_line_of_code_stands_once(line: str) -> None:
    assert visible(line) == line


@given(LINES, LINES)
@example("\\x1b", "\x1b")
@example("\\\\x1b", "\\\x1b")
@example("\\\x1b", "\\x1b")
def test_no_two_lines_look_alike_and_nothing_in_them_acts(one: str, other: str) -> None:
    shown = visible(f"  + {one}"), visible(f"  + {other}")
    assert (shown[0] == shown[1]) == (one == other)
    assert shown[0].isprintable()
