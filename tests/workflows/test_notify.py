"""A channel is told once of what is new, once of what is solved, and never twice of the same."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from manifestd.config import Config
from manifestd.config.shape import HubSelect, Notify, Select
from manifestd.model.change import FileDiff
from manifestd.model.run import Run, RunModel
from manifestd.model.run_view import ListedRun
from manifestd.store import Store, open_store
from manifestd.workflows.notify import notify_run
from tests.contracts.report_suite import HOSTILE, diff_of, files_of_every_verdict, known
from tests.notifiers.receiver import Receiver, receiver
from tests.reports.run_making import (
    contradicted,
    drifted,
    every_end,
    failure,
    gated,
    hostile_run,
    model,
    objected,
    passing,
    run_of,
    run_side,
    undecided,
    unsigned,
)
from tests.support.schemas import check_document

SECRET = {"HOOK": "0123456789abcdef"}
NAME = "acme/drift"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as state:
        yield state


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "s.db", write=True) as opened:
        yield opened


def channel(state: Receiver, path: str = "/", **more: Any) -> Notify:
    url = f"webhook+http://127.0.0.1:{state.port}{path}"
    return Notify(url=url, secret="${HOOK}", allow_private=True, **more)


def tell(
    store: Store,
    run: Run,
    *channels: Notify,
    environ: Mapping[str, str] = SECRET,
    select: Sequence[Select] = (),
) -> int:
    config = Config(notify=list(channels), select=list(select))
    return notify_run(store, config, ListedRun(run), environ, clock=lambda: 1_772_000_000.5)


def told(state: Receiver) -> list[dict[str, Any]]:
    """The documents that arrived; the list is emptied."""
    found = [json.loads(body) for _, _, body in state.posts]
    state.posts.clear()
    return found


def names(document: dict[str, Any], part: str) -> list[tuple[str, str | None]]:
    return [(notice["model"], notice["path"]) for notice in document[part]]


def differing(path: str = "config.json", digit: str = "4", left: str = "3") -> FileDiff:
    base = files_of_every_verdict()[1]
    return msgspec.structs.replace(base, path=path, left=known(1, left), right=known(1, digit))


def with_files(*files: FileDiff, unlisted: int = 9) -> RunModel:
    return model(NAME, [diff_of(list(files), unlisted=unlisted)])


def test_the_same_run_again_sends_nothing_and_a_fix_sends_one(store: Store, hook: Receiver) -> None:
    broken, fixed = run_of(drifted()), run_of(passing(NAME))
    assert tell(store, broken, channel(hook)) == 1
    [first] = told(hook)
    assert ("acme/drift", "config.json") in names(first, "new")
    assert first["result"] == "fail"
    assert tell(store, broken, channel(hook)) == 0
    assert tell(store, fixed, channel(hook)) == 1
    [last] = told(hook)
    assert last["new"] == []
    assert sorted(map(str, names(last, "solved"))) == sorted(map(str, names(first, "new")))
    assert last["result"] == "pass"
    assert tell(store, fixed, channel(hook)) == 0
    assert hook.posts == []


def test_nothing_wrong_sends_nothing(store: Store, hook: Receiver) -> None:
    assert tell(store, run_of(passing()), channel(hook)) == 0
    assert hook.posts == []


def test_only_what_is_new_is_told_beside_what_was_told(store: Store, hook: Receiver) -> None:
    tell(store, run_of(with_files(differing("a"))), channel(hook))
    told(hook)
    tell(store, run_of(with_files(differing("a"), differing("b"))), channel(hook))
    [second] = told(hook)
    assert names(second, "new") == [(NAME, "b")]
    assert second["solved"] == []
    tell(store, run_of(with_files(differing("b"), differing("c"))), channel(hook))
    [third] = told(hook)
    assert (names(third, "new"), names(third, "solved")) == ([(NAME, "c")], [(NAME, "a")])


def test_other_bytes_on_the_mirror_are_another_finding(store: Store, hook: Receiver) -> None:
    tell(store, run_of(with_files(differing(digit="4"))), channel(hook))
    tell(store, run_of(with_files(differing(digit="5"))), channel(hook))
    assert [len(document["new"]) for document in told(hook)] == [1, 1]


def test_a_mirror_that_lags_behind_is_one_finding_while_the_reference_moves_on(
    store: Store, hook: Receiver
) -> None:
    tell(store, run_of(with_files(differing(left="1"))), channel(hook))
    assert tell(store, run_of(with_files(differing(left="2"))), channel(hook)) == 0


def test_what_nobody_looked_at_is_not_solved(store: Store, hook: Receiver) -> None:
    tell(store, run_of(with_files(differing())), channel(hook))
    told(hook)
    assert tell(store, run_of(passing("acme/other")), channel(hook)) == 0
    tell(store, run_of(gated(NAME)), channel(hook))
    [unreachable] = told(hook)
    assert (names(unreachable, "new"), unreachable["solved"]) == ([(NAME, None)], [])
    tell(store, run_of(with_files(differing())), channel(hook))
    [back] = told(hook)
    assert back["new"] == []
    assert [notice["kind"] for notice in back["solved"]] == ["side"]


def test_a_file_that_a_long_diff_no_longer_lists_is_not_solved(
    store: Store, hook: Receiver
) -> None:
    tell(store, run_of(with_files(differing("a"))), channel(hook))
    told(hook)
    cut = diff_of([differing("b")], unlisted=9)
    counts = msgspec.structs.replace(cut.counts, different=500)
    tell(store, run_of(model(NAME, [msgspec.structs.replace(cut, counts=counts)])), channel(hook))
    [document] = told(hook)
    assert (names(document, "new"), document["solved"]) == ([(NAME, "b")], [])


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (gated(NAME), "side"),
        (model(NAME, [], error=failure("defect")), "model"),
        (contradicted(NAME), "problem"),
        (unsigned(NAME), "demand"),
        (objected(NAME), "policy"),
        (undecided(NAME), "file"),
        (model(NAME, result="fail"), "result"),
    ],
)
def test_every_kind_of_trouble_is_told_once_and_its_end_once(
    store: Store, hook: Receiver, broken: RunModel, kind: str
) -> None:
    assert [tell(store, run_of(broken), channel(hook)) for _ in range(2)] == [1, 0]
    assert [tell(store, run_of(passing(NAME)), channel(hook)) for _ in range(2)] == [1, 0]
    new, solved = told(hook)
    assert [notice["kind"] for notice in new["new"]] == [kind]
    assert [notice["kind"] for notice in solved["solved"]] == [kind]


def test_what_is_waived_or_a_warning_is_not_told(store: Store, hook: Receiver) -> None:
    tell(store, run_of(objected()), channel(hook))
    [document] = told(hook)
    assert [notice["rule"] for notice in document["new"]] == ["licenses"]


def test_an_objection_to_content_of_both_sides_does_not_wander(
    store: Store, hook: Receiver
) -> None:
    first = objected(NAME)
    findings = [msgspec.structs.replace(found, side="hub") for found in first.policy]
    tell(store, run_of(first), channel(hook))
    assert tell(store, run_of(msgspec.structs.replace(first, policy=findings)), channel(hook)) == 0


def test_a_channel_hears_of_the_results_it_wants(store: Store, hook: Receiver) -> None:
    wanted = channel(hook, "/errors", on=["error"])
    tell(store, every_end(), wanted)
    [document] = told(hook)
    assert names(document, "new") == [("acme/gated", None)]
    assert tell(store, run_of(drifted("acme/gated")), wanted) == 1
    [document] = told(hook)
    assert (document["new"], len(document["solved"])) == ([], 1)


def test_a_channel_may_want_good_news_and_gets_them_once(store: Store, hook: Receiver) -> None:
    wanted = channel(hook, on=["pass"])
    assert [tell(store, run_of(passing()), wanted) for _ in range(2)] == [1, 0]
    assert tell(store, run_of(gated("acme/fine")), wanted) == 0
    assert tell(store, run_of(passing()), wanted) == 1
    assert [document["result"] for document in told(hook)] == ["pass", "pass"]


def test_a_side_that_is_configured_away_is_forgotten_without_a_word(
    store: Store, hook: Receiver
) -> None:
    tell(store, run_of(with_files(differing())), channel(hook))
    told(hook)
    alone = model(NAME, [], sides={"hub": run_side(NAME)}, result="pass", compared=[])
    assert tell(store, run_of(alone), channel(hook)) == 0
    assert tell(store, run_of(with_files(differing())), channel(hook)) == 1


def test_a_channel_that_fails_is_logged_and_told_next_time(
    store: Store, hook: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    bad = channel(hook, "/s3cret-path", on=["fail"])
    hook.status = 503
    with caplog.at_level(logging.WARNING, logger="manifestd"):
        assert tell(store, run_of(drifted()), bad) == 0
    [record] = caplog.records
    assert "notify 1 (webhook+http) was not told" in record.getMessage()
    assert "answered 503" in record.getMessage()
    assert "s3cret-path" not in record.getMessage()
    hook.status = 204
    assert tell(store, run_of(drifted()), bad) == 1


def test_one_bad_channel_does_not_keep_the_next_from_hearing(
    store: Store, hook: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [
        Notify(url="slack://${NOT_SET}"),
        Notify(url="no scheme"),
        Notify(url="exec:///does/not/exist"),
        Notify(url="webhook+https://host/"),
    ]
    with caplog.at_level(logging.WARNING, logger="manifestd"):
        assert tell(store, run_of(drifted()), *bad, channel(hook)) == 1
    assert len(caplog.records) == len(bad)
    assert "NOT_SET" in caplog.records[0].getMessage()


def test_a_notifier_that_breaks_in_its_own_way_changes_nothing(
    store: Store, hook: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("token-in-a-message")

    monkeypatch.setattr("manifestd.notifiers.webhook.resolve", broken)
    with caplog.at_level(logging.WARNING, logger="manifestd"):
        assert tell(store, run_of(drifted()), channel(hook)) == 0
    assert "RuntimeError" in caplog.text
    assert "token-in-a-message" not in caplog.text


def test_channels_remember_apart(store: Store, hook: Receiver) -> None:
    one, two = channel(hook, "/1"), channel(hook, "/2")
    assert tell(store, run_of(drifted()), one) == 1
    assert tell(store, run_of(drifted()), one, two) == 1
    assert [path for path, _, _ in hook.posts] == ["/1", "/2"]


def test_the_document_fits_its_schema_for_webhooks_and_for_programs(
    store: Store, hook: Receiver, tmp_path: Path
) -> None:
    program = tmp_path / "keep.sh"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/document\n")
    program.chmod(0o755)
    run = every_end()
    assert tell(store, run, channel(hook), Notify(url=f"exec://{program}")) == 2
    [posted] = hook.posts
    check_document("notification", posted[2])
    assert json.loads(posted[2])["run"] is None
    given = (tmp_path / "document").read_bytes()
    check_document("notification", given)
    check_document("run", json.loads(given)["run"])
    assert given == msgspec.json.encode({**json.loads(posted[2]), "run": run})


def test_a_thousand_models_at_once_make_one_bounded_message(store: Store, hook: Receiver) -> None:
    models = [drifted(f"org/model-{number}") for number in range(500)]
    assert tell(store, run_of(*models), channel(hook)) == 1
    [document] = told(hook)
    assert len(document["new"]) == 1000
    assert document["moreNew"] == 500 * 6 - 1000
    assert tell(store, run_of(*models), channel(hook)) == 0


class Heard:
    """A notifier of the test's own that keeps whole messages."""

    name = "heard"
    wants_run = False
    messages: ClassVar[list[Any]] = []

    def __init__(self, channel: Any) -> None:
        """Take any channel."""

    def tell(self, message: Any) -> None:
        self.messages.append(message)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> type[Heard]:
    monkeypatch.setattr(Heard, "messages", [])
    monkeypatch.setattr("manifestd.notifiers.notifier_for", Heard)
    return Heard


def test_people_read_what_is_wrong_where(store: Store, heard: type[Heard]) -> None:
    tell(store, run_of(gated(), with_files(differing())), Notify(url="heard://"))
    [message] = heard.messages
    assert message.title == (
        "manifestd: 2 new; 0 of 2 models passed; 1 failed, 1 could not be judged"
    )
    lines = message.body.splitlines()
    assert lines[0].startswith("FAIL acme/drift: mirror: config.json: /torch_dtype: ")
    assert lines[1] == (
        "ERROR acme/gated: hub: the model is gated and this token has no access"
        " (ask for access on its page)"
    )
    assert lines[2] == "run 20260301T101500Z-0123abcd, started 2026-03-01T10:15:00Z"
    tell(store, run_of(with_files()), Notify(url="heard://"))
    assert "SOLVED acme/drift: mirror: config.json: was different" in heard.messages[1].body


def test_people_read_that_models_may_be_missing_and_of_its_end(
    store: Store, heard: type[Heard]
) -> None:
    select, asked = (
        [Select(hf=HubSelect(collection="acme/gone"))],
        {"hf": {"collection": "acme/gone"}},
    )
    what = "select[0].hf: there is no collection acme/gone"
    error = failure("source-not-found", what=what, facts={"select": asked})
    broken = run_of(passing(), errors=[error], asked=[asked], exit_code=3)
    for run in (broken, run_of(passing(), asked=[asked])):
        assert tell(store, run, Notify(url="heard://"), select=select) == 1
    first, last = heard.messages
    assert first.title == "manifestd: 1 new; the model passed; models may be MISSING"
    assert first.body.startswith(f"ERROR {what} (ask for access on its page)\n")
    assert last.body.startswith(f"SOLVED was source-not-found: {what}\n")


def test_long_news_are_cut_and_counted(store: Store, heard: type[Heard]) -> None:
    files = [differing(f"{number:03}" + "x" * 500) for number in range(50)]
    tell(store, run_of(with_files(*files)), Notify(url="heard://"))
    body = heard.messages[0].body
    assert "and 30 more" in body
    assert len(body) < 20 * 320


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_in_a_name_calls_people_or_is_markup(
    store: Store, heard: type[Heard], hostile: str
) -> None:
    tell(store, hostile_run(hostile), Notify(url="heard://"))
    [message] = heard.messages
    assert "<" not in message.body
    assert "@everyone" not in message.body
    acting = {char for char in message.body if not char.isprintable()} - {"\n", "\u2060"}
    assert acting == set()
    assert "\n" not in message.title


def test_a_message_names_itself_so_that_repetitions_can_be_dropped(
    store: Store, hook: Receiver
) -> None:
    tell(store, run_of(drifted()), channel(hook, "/1"), channel(hook, "/2"))
    first, second = (headers for _, headers, _ in hook.posts)
    assert first["webhook-id"] != second["webhook-id"]
    assert first["webhook-timestamp"] == "1772000000"
