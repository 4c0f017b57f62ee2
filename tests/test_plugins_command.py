"""``plugins`` lists every member of every family and who brings it."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from manifestd._version import __version__
from manifestd.cli.main import run
from manifestd.cli.plugins import FAMILIES
from manifestd.plugins import Family
from tests.support.schemas import check_document

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[1] / "manifestd"


def listed(capsys: Capture, *options: str) -> list[dict[str, str | None]]:
    assert run(["plugins", "--format", "json", *options]) == 0
    text = capsys.readouterr().out
    check_document("plugins", text)
    found: list[dict[str, str | None]] = json.loads(text)["plugins"]
    return found


def test_no_family_is_forgotten() -> None:
    tables = {
        f"manifestd.{path.parent.name}"
        for path in ROOT.glob("*/__init__.py")
        if any(
            isinstance(value, Family)
            for value in vars(import_module(f"manifestd.{path.parent.name}")).values()
        )
    }
    assert set(FAMILIES.values()) == tables


def test_every_built_in_member_is_listed_and_loads(capsys: Capture) -> None:
    rows = listed(capsys, "--check")
    for family, module in FAMILIES.items():
        [table] = [v for v in vars(import_module(module)).values() if isinstance(v, Family)]
        names = [row["name"] for row in rows if row["family"] == family]
        assert names == list(table.members)
    assert {(row["package"], row["version"]) for row in rows} == {("manifestd", __version__)}
    assert {row["state"] for row in rows} == {"ok"}


def test_people_get_a_table(capsys: Capture) -> None:
    assert run(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["FAMILY", "NAME", "PACKAGE", "VERSION"]
    assert ["reports", "junit", "manifestd", __version__] in [line.split() for line in lines]


def test_members_from_outside_are_listed_with_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    info = tmp_path / "acme_extras-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-extras\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[manifestd.notifiers]\npager = acme_extras:Pager\nexec = acme_extras:Takeover\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    rows = listed(capsys, "--check")
    [pager] = [row for row in rows if row["package"] == "acme-extras"]
    assert pager == {
        "family": "notifiers", "name": "pager", "package": "acme-extras", "version": "1.2",
        "state": "broken: ModuleNotFoundError",
    }  # fmt: skip
    monkeypatch.setenv("MANIFESTD_PLUGINS", "builtin")
    assert "acme-extras" not in [row["package"] for row in listed(capsys)]
