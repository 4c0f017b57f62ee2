"""Working state: the journal of an unfinished run, and the spool that sorts a listing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from manifestd.errors import MalformedError, TamperedError, UnreachableError
from manifestd.model.entry import Entry
from manifestd.store import Spool, open_store
from tests.store.making import ODD_PATHS


def test_the_journal_survives_and_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with open_store(path, write=True) as store:
        journal = store.journal("hf://a/b@1")
        assert journal.load() == {}
        journal.append([(odd, "token", odd.encode()) for odd in ODD_PATHS])
        journal.append([(ODD_PATHS[0], "newer", b"x")])
        store.journal("another").append([("a", "t", b"d")])
    with open_store(path, write=True) as store:
        found = store.journal("hf://a/b@1").load()
        assert found.keys() == set(ODD_PATHS)
        assert found[ODD_PATHS[0]] == ("newer", b"x")
        assert found[ODD_PATHS[1]] == ("token", ODD_PATHS[1].encode())
        store.journal("hf://a/b@1").clear()
        assert store.journal("hf://a/b@1").load() == {}
        assert store.journal("another").load() == {"a": ("t", b"d")}
        store._database.run("UPDATE journal SET data = 5")
        with pytest.raises(TamperedError):
            store.journal("another").load()


def entry(path: str) -> Entry:
    return Entry(path=path, size=len(path), identity={"etag": path}, hints={"parts": [1, 2]})


def test_the_spool_gives_utf8_order_back() -> None:
    paths = [*ODD_PATHS, *(f"f/{number}" for number in range(5000))]
    random.Random(1).shuffle(paths)
    with Spool() as spool:
        for path in paths:
            spool.add(entry(path))
        assert len(spool) == len(paths)
        assert spool.get(ODD_PATHS[3]) == entry(ODD_PATHS[3])
        assert spool.get(paths[-1]) == entry(paths[-1])
        assert spool.get("none") is None
        assert list(spool) == [entry(path) for path in sorted(paths, key=str.encode)]
        assert [spool.get(item.path) for item in spool] == list(spool)


@pytest.mark.parametrize("between", [0, 10, 5000])
def test_the_spool_refuses_a_path_twice(between: int) -> None:
    paths = ["x/twice", *(f"y/{number}" for number in range(between)), "x/twice"]
    spool = Spool()
    with pytest.raises(UnreachableError, match="'x/twice'"):
        fill(spool, paths)
    spool.close()
    spool.close()


def fill(spool: Spool, paths: list[str]) -> None:
    for path in paths:
        spool.add(entry(path))
    assert list(spool)


def test_the_spool_refuses_surrogates() -> None:
    with Spool() as spool, pytest.raises(MalformedError, match="Unicode"):
        spool.add(entry("a\ud800"))


def test_an_empty_spool_is_empty() -> None:
    with Spool() as spool:
        assert (list(spool), len(spool), spool.get("a")) == ([], 0, None)
