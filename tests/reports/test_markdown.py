"""The Markdown report: a table that stays one, in a comment that fits."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import ClassVar

import pytest
from markdown_it import MarkdownIt

from manifestd.model.change import FileDiff
from manifestd.reports.escape import markdown, shorten, visible
from manifestd.reports.markdown import MAX_BYTES
from manifestd.rules.verdicts import Demands
from tests.contracts.report_suite import (
    HOSTILE,
    ReportSuite,
    diff_of,
    failing,
    files_of_every_verdict,
    hostile,
)

TAGS = {
    "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "ol", "ul", "li",
    "details", "summary", "br",
}  # fmt: skip


class Rendered(HTMLParser):
    """Tags, attributes and cells of what a Markdown renderer makes of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.code: list[str] = []
        self.text = ""
        self._inside: set[str] = set()
        renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
        self.feed(renderer.render(text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._inside.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "code":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside.discard(tag)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside & {"td", "th"}:
            self.rows[-1][-1] += data
        if "code" in self._inside:
            self.code[-1] += data


class TestMarkdown(ReportSuite):
    name: ClassVar[str] = "markdown"

    def test_it_renders_as_a_heading_and_two_tables(self) -> None:
        seen = Rendered(self.render(failing()))
        assert {"h3", "strong", "table", "details", "summary", "ol"} <= seen.tags
        widths = [len(row) for row in seen.rows]
        assert widths == [5, 5, 5, *[5] * 9]
        assert ["different", "behaviour", "sha256 measured/declared", "config.json"] in [
            row[:4] for row in seen.rows
        ]

    def test_a_failure_that_only_a_demand_makes_says_which_demand(self) -> None:
        only = [file for file in files_of_every_verdict() if file.verdict == "equivalent"]
        seen = Rendered(self.render(diff_of(only, demands=Demands(strict=True))))
        assert "FAIL" in seen.text
        assert "1 is equivalent; --strict fails what is only equivalent" in seen.text

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_hostile_names_make_no_markup_and_no_cells(self, name: str) -> None:
        seen = Rendered(self.render(hostile(name)))
        assert seen.tags <= TAGS
        assert seen.attributes == set()
        assert {len(row) for row in seen.rows} == {5}
        assert shorten(visible(name)) in seen.code

    @pytest.mark.parametrize(
        "text",
        ["- a", "+ a", "1. a", "2) a", "    a", "a_b_c *d* ~e~ $f$ [g](h) #1 <i> &amp; `j` |k|"],
    )
    def test_a_sentence_stays_one(self, text: str) -> None:
        for written in (f"1. {markdown(text)}", f"|x|\n|-|\n| {markdown(text)} |"):
            seen = Rendered(written)
            assert seen.tags <= {"ol", "li", "table", "thead", "tbody", "tr", "th", "td"}
            assert text.strip() in (seen.rows[1][0] if seen.rows else seen.text)

    def test_nobody_is_called_and_nothing_is_linked(self) -> None:
        text = markdown("ask @everyone at https://evil.example or www.evil.example")
        assert text.startswith("<code>")
        assert "@" not in text
        assert "://" not in markdown("see https://evil.example")
        assert "www." not in markdown("see www.evil.example")

    def test_it_fits_into_a_comment_and_says_what_it_leaves_out(self) -> None:
        files = [
            FileDiff(path=f"{n:04}" + "\U0001f600" * 100, verdict="different", reason="x" * 5000)
            for n in range(2000)
        ]
        text = self.render(diff_of(files))
        assert len(text.encode()) <= MAX_BYTES
        shown = text.count("\n| different |")
        assert 0 < shown < 2000
        assert f"{2000 - shown} more files are not shown" in text

    def test_identical_files_give_way_to_those_that_differ(self) -> None:
        same = [FileDiff(path=f"a{n:05}", verdict="identical") for n in range(3000)]
        text = self.render(diff_of([*same, FileDiff(path="z", verdict="different")]))
        assert "| `z` |" in text
        assert "more files are not shown" in text
