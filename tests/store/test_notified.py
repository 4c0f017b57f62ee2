"""Channels remember what they were told, each for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifestd.errors import TamperedError
from manifestd.store import open_store


def test_what_was_told_is_remembered_until_it_is_solved(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        store.notified.update("a", {"x": b"1", "y": b"2"}, [])
        store.notified.update("a", {"x": b"3"}, ["y", "never told"])
    with open_store(tmp_path / "s.db") as store:
        assert store.notified.load("a") == {"x": b"3"}


def test_channels_do_not_know_of_each_other(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        store.notified.update("a", {"x": b"1"}, [])
        store.notified.update("b", {}, ["x"])
        assert store.notified.load("a") == {"x": b"1"}
        assert store.notified.load("b") == {}


def test_a_row_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        store._database.run("INSERT INTO notified VALUES ('a', 'x', 'text')")
        with pytest.raises(TamperedError):
            store.notified.load("a")
