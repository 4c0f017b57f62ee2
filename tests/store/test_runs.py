"""A stored run is read a model at a time, in any order that is asked for, and shows tampering."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from manifestd.errors import TamperedError
from manifestd.model.run import RESULTS, Run, RunModel
from manifestd.model.run_view import ListedRun, document_pieces
from manifestd.store import Store, open_store
from tests.reports.run_making import drifted, every_end, gated, keep_run, passing, run_of, undecided

KINDS = (passing, drifted, gated, undecided, passing, passing)


def mixed(count: int) -> Run:
    """Models of every result, in no order."""
    return run_of(*(KINDS[number * 7 % len(KINDS)](f"m/{number:04}") for number in range(count)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "s.db", write=True) as opened:
        yield opened


def names(models: Iterator[RunModel]) -> list[str]:
    return [model.name for model in models]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 600])
def test_a_stored_run_reads_as_the_same_run_in_memory(store: Store, count: int) -> None:
    run = mixed(count)
    keep_run(store, run)
    there, here = store.runs.view(), ListedRun(run)
    assert there.head == here.head
    assert there.head.models == []
    for failing in (False, True):
        assert there.count(failing_only=failing) == here.count(failing_only=failing)
        for worst in (False, True):
            found = names(there.models(failing_only=failing, worst_first=worst))
            assert found == names(here.models(failing_only=failing, worst_first=worst))
            assert len(found) == here.count(failing_only=failing)
    assert list(there.models()) == run.models


def test_worst_first_keeps_the_order_of_the_configuration_within_a_result(store: Store) -> None:
    keep_run(store, mixed(300))
    found = [
        (RESULTS.index(model.result), model.name)
        for model in store.runs.view().models(worst_first=True)
    ]
    assert found == sorted(found)
    assert {place for place, _ in found} == set(range(len(RESULTS)))


def test_its_pieces_are_the_document(store: Store) -> None:
    tricky = run_of(passing(), notes=['"models":[]', ',"models":[]', '\\",\\"models\\":[]'])
    for run in (run_of(), every_end(), tricky):
        keep_run(store, msgspec.structs.replace(run, run_id=run.run_id + str(len(run.models))))
        view = store.runs.view()
        whole = b"".join(document_pieces(view))
        assert json.loads(whole)["models"] == json.loads(msgspec.json.encode(run.models))
        assert whole == msgspec.json.encode(msgspec.structs.replace(view.head, models=run.models))


def test_a_run_that_others_write_beside_is_read_on(store: Store, tmp_path: Path) -> None:
    run = mixed(600)
    keep_run(store, run)
    found = store.runs.view().models()
    first = next(found)
    with open_store(tmp_path / "s.db", write=True, seconds=0.1) as other:
        keep_run(other, run_of(passing(), run_id="20260302T000000Z-00000000"))
    assert [first.name, *names(found)] == [model.name for model in run.models]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE run_model SET result = 'pass' WHERE name = 'acme/drift'",
        "UPDATE run_model SET result = 'none of ours' WHERE name = 'acme/drift'",
        "UPDATE run_model SET position = 99 WHERE name = 'acme/fine'",
        "UPDATE run_model SET document = 'text' WHERE name = 'acme/drift'",
        "DELETE FROM run_model WHERE name = 'acme/drift'",
        "UPDATE run_model SET result = 'pass', document = (SELECT document FROM run_model WHERE name = 'acme/fine') WHERE name = 'acme/drift'",
    ],
)
def test_an_index_that_says_something_else_is_noticed_at_once(
    store: Store, tmp_path: Path, change: str
) -> None:
    keep_run(store, every_end())
    with sqlite3.connect(tmp_path / "s.db") as connection:
        assert connection.execute(change).rowcount == 1
    with pytest.raises(TamperedError):
        store.runs.view()


def test_what_fails_cannot_be_filed_under_what_passes(store: Store, tmp_path: Path) -> None:
    keep_run(store, every_end())
    with sqlite3.connect(tmp_path / "s.db") as connection:
        for name, result in (("acme/drift", "pass"), ("acme/fine", "fail")):
            connection.execute(
                "UPDATE run_model SET result = ? WHERE name = ?", (result, name)
            )  # fmt: skip
    view = store.runs.view()
    with pytest.raises(TamperedError, match="another result"):
        list(view.models(failing_only=True))
