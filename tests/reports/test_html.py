"""The HTML report: self-contained, readable without scripts, harmless whatever the names."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest

from manifestd.reports.escape import visible
from tests.contracts.report_suite import (
    HOSTILE,
    ReportSuite,
    failing,
    files_of_every_verdict,
    hostile,
)

TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "span", "table", "thead",
    "tbody", "tr", "th", "td", "code", "details", "summary", "ul", "ol", "li",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class TestHtml(ReportSuite):
    name: ClassVar[str] = "html"

    def test_every_tag_is_closed_and_every_file_has_its_reason(self) -> None:
        page = Page(self.render(failing()))
        assert page.open == []
        text = "".join(page.texts)
        for file in files_of_every_verdict():
            assert file.path in text
            assert file.verdict == "identical" or (file.hint or "") in text
        assert "only the size agrees; the left has sha256, the right md5" in text

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_hostile_names_are_text(self, name: str) -> None:
        page = Page(self.render(hostile(name)))
        assert set(page.tags) <= TAGS
        assert page.attributes <= ATTRIBUTES
        assert visible(name) in page.texts

    def test_nothing_is_fetched_and_only_its_own_style_applies(self) -> None:
        text = self.render(failing())
        assert not re.search(r"src=|href=|url\(|@import|<script|<link", text)
        style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
        assert style is not None
        assert policy is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy[1]
        assert policy[1].startswith("default-src 'none'")

    @pytest.mark.peer
    @pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
    def test_chromium_shows_every_file_and_runs_nothing(self, tmp_path: Path) -> None:
        assert CHROMIUM is not None
        page = tmp_path / "report.html"
        page.write_text(self.render(hostile(HOSTILE["a script tag"])), encoding="utf-8")
        seen = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
        assert "&lt;script&gt;alert(1)&lt;/script&gt;.json" in seen
        assert "<script" not in seen
