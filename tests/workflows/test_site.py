"""The dashboard: an index, a page a model, harmless whatever the names, and only its own files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from manifestd.cli.main import run as command_line
from manifestd.errors import AccessDeniedError, UsageError
from manifestd.reports.escape import visible
from manifestd.store import Store, open_store
from manifestd.workflows.site import INVENTORY, page_name, write_site
from tests.contracts.report_suite import HOSTILE
from tests.reports.run_making import drifted, every_end, hostile_run, keep_run, passing, run_of
from tests.reports.test_html import ATTRIBUTES, TAGS, Page

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "s.db", write=True) as opened:
        yield opened


def pages(site: Path) -> dict[str, str]:
    return {
        path.relative_to(site).as_posix(): path.read_text(encoding="utf-8")
        for path in site.rglob("*.html")
    }


def test_the_index_leads_to_a_page_for_each_model(store: Store, tmp_path: Path) -> None:
    keep_run(store, every_end())
    assert write_site(store, tmp_path / "site", NOW).models == 7
    found = pages(tmp_path / "site")
    links = set(re.findall(r'href="([^"]*)"', found["index.html"]))
    assert links == set(found) - {"index.html"}
    assert len(links) == 7
    assert "the right snapshot is not signed" in found["index.html"]
    page = found[page_name("acme/drift")]
    assert "config.json" in page
    assert "copy config.json, gone.txt" in page
    for name, text in found.items():
        for link in re.findall(r'href="([^"]*)"', text):
            assert urljoin(f"x:/{name}", link).removeprefix("x:/") in found or (
                urlsplit(link).path.removeprefix("../") in found
            )


def test_the_worst_stand_first_with_their_trend(store: Store, tmp_path: Path) -> None:
    keep_run(store, run_of(passing("a"), passing("b")))
    keep_run(store, run_of(passing("a"), drifted("b"), run_id="20260302T000000Z-00000000"))
    write_site(store, tmp_path / "site", NOW)
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert index.index(page_name("b")) < index.index(page_name("a"))
    assert "<code>●✕</code>" in index
    assert "1 of 2 models pass" in index
    history = (tmp_path / "site" / page_name("b")).read_text(encoding="utf-8")
    assert history.index("20260302T000000Z-00000000") < history.index("20260301T101500Z-0123abcd")


def test_writing_again_brings_it_up_to_date_and_removes_only_its_own(
    store: Store, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    with open_store(tmp_path / "other.db", write=True) as other:
        keep_run(other, run_of(passing("gone")))
        write_site(other, site, NOW)
    (site / "models" / "notes.html").write_text("somebody's own")
    (site / INVENTORY).write_text(
        (site / INVENTORY)
        .read_text()
        .replace('"index.html"', '"index.html","../other.db","models/notes.html"')
    )
    keep_run(store, run_of(passing("here")))
    assert write_site(store, site, NOW).removed == 1
    assert set(pages(site)) == {"index.html", "models/notes.html", page_name("here")}
    assert (tmp_path / "other.db").exists()
    assert not list(site.rglob("*.part"))


def test_a_directory_of_somebody_else_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("precious")
    with pytest.raises(UsageError, match="no dashboard"):
        write_site(store, tmp_path / "mine", NOW)
    assert (tmp_path / "mine" / "index.html").read_text() == "precious"
    with pytest.raises((UsageError, AccessDeniedError)):
        write_site(store, tmp_path / "s.db", NOW)


def test_a_store_without_runs_has_an_index_that_says_so(store: Store, tmp_path: Path) -> None:
    write_site(store, tmp_path / "site", NOW)
    assert "No model was ever run" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_are_text_and_never_places(store: Store, tmp_path: Path, name: str) -> None:
    keep_run(store, hostile_run(name))
    write_site(store, tmp_path / "site", NOW)
    found = pages(tmp_path / "site")
    assert len(found) == 2
    for text in found.values():
        page = Page(text)
        assert set(page.tags) <= TAGS | {"a"}
        assert page.attributes <= ATTRIBUTES | {"href"}
        assert visible(name) in page.texts
        assert "default-src 'none'" in text
    for link in re.findall(r'href="([^"]*)"', found["index.html"]):
        assert re.fullmatch(r"models/[a-z0-9._-]+\.html", link)


def test_names_that_read_alike_have_pages_of_their_own() -> None:
    names = ["A/b", "a/b", "a-b", "a b", "a/b/", "", ".", "..", "x" * 500, "x" * 501]
    assert len({page_name(name) for name in names}) == len(names)
    assert all(len(page_name(name)) < 120 for name in names)


def test_the_command_says_what_it_wrote(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_run(store, every_end())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MANIFESTD_CONFIG", raising=False)
    assert command_line(["--store", str(store.path), "report", "site", "-o", "public"]) == 0
    assert capsys.readouterr().out == "Wrote public/index.html, 7 models.\n"
    assert command_line(["--store", str(store.path), "report", "site"]) == 2
    assert command_line(["--store", "none.db", "report", "site", "-o", "other"]) == 3
    assert not (tmp_path / "other").exists()
