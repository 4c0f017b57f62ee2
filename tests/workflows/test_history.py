"""What was it then: tags as of a time across a rotation of keys, the ledger, and pruning."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from manifestd.cli.main import run
from manifestd.errors import NotStoredError, TamperedError, UntrustedError, UsageError
from manifestd.model.approval import Approval, approval_statement
from manifestd.model.history import NamedThen
from manifestd.model.logentry import time_text
from manifestd.model.moment import parse_day, parse_moment
from manifestd.model.run import Run, RunCounts, RunModel, RunSide
from manifestd.model.tombstone import read_deletion_statement
from manifestd.signing.dsse import sign_statement, verify_bundle
from manifestd.store import Store
from manifestd.store.check import check_store
from manifestd.store.rebuild import rebuild_store
from manifestd.workflows.checkpoints import make_checkpoint
from manifestd.workflows.history import as_of, list_log
from manifestd.workflows.ledger import ledger
from manifestd.workflows.proofs import verify_log
from manifestd.workflows.prune import Rule, choose, prune
from manifestd.workflows.sign import signature_of
from manifestd.workflows.tags import delete_tag
from tests.support.schemas import check_document
from tests.workflows.history_world import Firm, day

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    return Firm(tmp_path)


def then(firm: Firm, text: str) -> dict[str, NamedThen]:
    with firm.open() as store:
        return {
            named.state.tag: named for named in as_of(store, firm.trust, parse_moment(text)).tags
        }


def test_as_of_gives_the_answer_of_that_day_across_a_rotation_of_the_key(tmp_path: Path) -> None:
    firm = Firm(tmp_path)
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1", at=day(0))
        firm.tag(store, "m:prod", one, at=day(1))
        # Alice's key ends on day 5; ed's takes over.
        two = firm.snapshot(store, "2", at=day(8), by="ed")
        firm.tag(store, "m:prod", two, at=day(9), by="ed")
        # A signature that the retired key makes afterwards, whatever date it claims.
        late = firm.snapshot(store, "3", at=day(10), captured_at="2026-03-02T00:00:00Z")
    rotated = Firm(tmp_path, alice_until="2026-03-06")
    before = then(rotated, "2026-03-03")["m:prod"]
    assert (before.state.snapshot, before.state.by, before.state.signature) == (
        one, "alice", "verified",
    )  # fmt: skip
    assert (before.signature, before.signed_by) == ("verified", ["alice"])
    after = then(rotated, "2026-03-20")["m:prod"]
    assert (after.state.snapshot, after.signature, after.signed_by) == (two, "verified", ["ed"])
    with rotated.open(write=True) as store:
        rotated.tag(store, "m:late", late, at=day(11), by="ed")
        # By the date that the record claims the old key counted; by the log it did not.
        record = store.snapshots.load(late)
        assert signature_of(store, late, record, rotated.trust)[0] == "verified"
        with pytest.raises(UntrustedError, match="alice does not count for tag here"):
            rotated.tag(store, "m:prod", one, at=day(12))
    assert then(rotated, "2026-03-20")["m:late"].signature == "untrusted"
    assert then(rotated, "2026-02-01") == {}


def test_as_of_counts_only_signatures_that_were_logged_until_then(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1", by=None)
        firm.tag(store, "m:x", one, at=day(1))
        from manifestd.workflows.sign import sign_snapshot

        bundle = sign_snapshot(store.snapshots.load(one), one, firm.signer("bob"))
        store.snapshots.attach(one, bundle, at=day(5))
    assert then(firm, "2026-03-03")["m:x"].signature == "unsigned"
    named = then(firm, "2026-03-06")["m:x"]
    assert (named.signature, named.signed_by) == ("verified", ["bob"])


def test_as_of_follows_moves_and_deletions(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        firm.tag(store, "m:a", one, at=day(1))
        firm.tag(store, "m:b", two, at=day(2))
        firm.tag(store, "m:a", two, at=day(3))
        delete_tag(store, firm.desk(at=day(4)), "m:b", reason="over")
    names = {
        number: {tag: item.state.snapshot for tag, item in then(firm, f"2026-03-0{number}").items()}
        for number in range(1, 6)
    }
    assert names == {
        1: {}, 2: {"m:a": one}, 3: {"m:a": one, "m:b": two}, 4: {"m:a": two, "m:b": two},
        5: {"m:a": two},
    }  # fmt: skip


def test_as_of_a_damaged_log_gives_no_answer(firm: Firm) -> None:
    with firm.open(write=True) as store:
        firm.tag(store, "m:a", firm.snapshot(store, "1"))
    connection = sqlite3.connect(firm.path)
    connection.execute("UPDATE log SET at = 0")
    connection.commit()
    connection.close()
    with pytest.raises(TamperedError):
        then(firm, "2026-03-20")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, 23, 59, 59, 999_999, UTC)),
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01 10:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_bare_date_includes_its_whole_day(text: str, moment: datetime) -> None:
    assert parse_moment(text) == moment
    assert parse_day("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(UsageError):
        parse_moment(text + "x")


def test_the_ledger_has_a_line_for_every_release(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, '{"a":1}', revision="a" * 40)
        two = firm.snapshot(store, '{"a":2}')
        again = firm.snapshot(store, '{"a":2}', at=day(1))
        firm.tag(store, "org/m:prod", one, at=day(1))
        _approve(store, firm, "org/m:prod", two, "carol", "dora", revoked="dora")
        _approve(store, firm, "org/m:other", two, "carol")
        firm.tag(store, "org/m:prod", two, at=day(2), by="ed", reason="better")
        _approve(store, firm, "org/m:prod", two, "stranger")
        firm.tag(store, "org/m:prod", again, at=day(3))
        delete_tag(store, firm.desk(at=day(4)), "org/m:prod", reason="over")
        found = ledger(store, firm.trust)
        check_document("history", json.dumps(_plain(found)))
        assert [(item.model, item.version) for item in found.releases] == [("org/m", "prod")] * 4
        assert [item.action for item in found.releases] == ["set", "moved", "moved", "deleted"]
        assert [item.verdict for item in found.releases] == [None, "different", "identical", None]
        assert [item.approvers for item in found.releases] == [
            [], ["carol"], ["carol", "stranger (UNTRUSTED)"], [],
        ]  # fmt: skip
        second = found.releases[1]
        assert (second.by, second.reason, second.at[:10]) == ("ed", "better", "2026-03-03")
        assert second.manifest == store.snapshots.load(two).manifest
        assert found.releases[0].revision == "a" * 40
        assert ledger(store, firm.trust, name="org/m:prod") == found
        assert ledger(store, firm.trust, name="org").releases == []


def test_a_signature_about_something_else_is_no_approval_in_the_ledger(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        manifest = store.snapshots.load(one).manifest
        _approve(store, firm, "m:other", one, "carol")
        [entry] = store.log.entries(kinds=["approval"])
        facts = {"tag": "m:prod", "snapshot": one, "manifest": manifest, "by": "carol"}
        store.log.append("approval", entry.document, day(1), facts)  # type: ignore[arg-type]
        firm.tag(store, "m:prod", one, at=day(2))
        [release] = ledger(store, firm.trust, name="m:prod").releases
        assert release.approvers == ["carol (INVALID)"]


def test_the_ledger_prefers_a_verdict_that_was_logged(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        document = store.blobs.put(b"{}", "document")
        store.log.append("verdict", document, day(0), {"snapshot": one, "verdict": "equivalent"})
        firm.tag(store, "m:x", one, at=day(1))
        store.log.append("verdict", document, day(2), {"snapshot": one, "verdict": "different"})
        assert ledger(store, firm.trust).releases[0].verdict == "equivalent"


def test_the_ledger_tells_the_verdict_of_the_last_run_before_the_release(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "1", source="s3://b/m/")
        other = firm.snapshot(store, "2")
        for index, verdict in enumerate(("identical", "different")):
            _log_run(store, verdict, {"hub": one, "mirror": two}, at=day(2 * index))
            firm.tag(store, "m:x", one if index else two, at=day(2 * index + 1))
        firm.tag(store, "m:y", other, at=day(9))
        found = [item.verdict for item in ledger(store, firm.trust).releases]
        assert found == ["identical", "different", None]


def _log_run(store: Store, verdict: str, sides: dict[str, str], at: datetime) -> None:
    """What the run command leaves in the store, through the store's own methods."""
    run = Run(run_id=f"run-{verdict}", started_at="2026-03-01T12:00:00Z",
              finished_at="2026-03-01T12:00:00Z", tool="test", offline=False, counts=RunCounts(), exit_code=0,
              models=[])  # fmt: skip
    model = RunModel(
        name="m", result="pass", verdict=verdict, exit_code=0, reference="hub",  # type: ignore[arg-type]
        sides={side: RunSide(reference=side, snapshot=digest) for side, digest in sides.items()},
    )  # fmt: skip
    number = store.runs.start(run.run_id, run.started_at)
    store.runs.add(number, 0, model)
    store.log.append("verdict", store.runs.finish(number, run), at, {"run": run.run_id})


def _plain(value: object) -> object:
    import msgspec

    return msgspec.to_builtins(value)


def _approve(
    store: Store, firm: Firm, tag: str, snapshot: str, *people: str, revoked: str | None = None
) -> None:
    """Log approvals as the approving commands do."""
    manifest = store.snapshots.load(snapshot).manifest
    assert manifest is not None
    for person in people:
        approval = Approval(
            tag=tag, manifest=manifest, snapshot=snapshot, policy=manifest, approver=person,
            key_id="", at=time_text(day(1)), expires=time_text(day(90)), request=manifest,
            reason=None, tool="test",
        )  # fmt: skip
        bundle = sign_statement(approval_statement(approval), firm.signer(person))
        document = store.blobs.put(bundle, "statement")
        facts = {"tag": tag, "snapshot": snapshot, "manifest": manifest, "by": person}
        store.log.append("approval", document, day(1), facts)  # type: ignore[arg-type]
        if person == revoked:
            facts = {"tag": tag, "revokes": document, "by": person}
            taken_back = store.blobs.put(f"no {person}".encode(), "statement")
            store.log.append("revocation", taken_back, day(1), facts)  # type: ignore[arg-type]


def nightly(firm: Firm, store: Store, nights: int, **options: str) -> list[str]:
    """Snapshots of one place, the text of every second night being new."""
    return [
        firm.snapshot(store, f"{options.get('source', '')} {night // 2}", at=day(night), **options)
        for night in range(nights)
    ]


def removed(firm: Firm, store: Store, **rule: object) -> list[str]:
    found = prune(store, firm.desk(at=day(100)), Rule(**rule))  # type: ignore[arg-type]
    return found.removed


def test_prune_keeps_the_newest_of_each_place_and_what_was_ever_named(firm: Firm) -> None:
    with firm.open(write=True) as store:
        left = nightly(firm, store, 10)
        right = nightly(firm, store, 3, source="s3://b/m/")
        firm.tag(store, "m:prod", left[1], at=day(20))
        firm.tag(store, "m:prod", left[2], at=day(21))
        _approve(store, firm, "m:next", left[5], "carol")
        # Approved is content, which night 4 holds as night 5 does.
        named = {left[1], left[2], left[4], left[5]}
        going = [digest for digest in [*left[:8], right[0]] if digest not in named]
        assert sorted(removed(firm, store, keep=2)) == sorted(going)
        assert removed(firm, store, keep=2) == []
        kept = {row.digest for row in store.snapshots.list()}
        assert kept == {left[1], left[2], left[4], left[5], *left[8:], *right[1:]}
        for digest in kept:
            assert list(store.trees.files(store.snapshots.load(digest)))
    assert check_store(firm.path) == []


def test_prune_by_date_and_name(firm: Firm) -> None:
    with firm.open(write=True) as store:
        left = nightly(firm, store, 6)
        nightly(firm, store, 6, source="s3://b/m/", name="other")
        rule = Rule(before=parse_day("2026-03-04"), name="m")
        going, kept = choose(store, rule)
        assert ([row.digest for row in going], kept) == (left[:3], 0)
        assert [row.digest for row in choose(store, Rule(keep=4, before=day(1), name="m"))[0]] == (
            left[:1]
        )
        going, kept = choose(store, Rule(before=day(50)))
        assert (len(going), kept) == (10, 2)
        with pytest.raises(UsageError, match="say what may go"):
            choose(store, Rule(name="m"))


def test_the_newest_complete_snapshot_stays_though_newer_ones_are_not(firm: Firm) -> None:
    with firm.open(write=True) as store:
        digests = nightly(firm, store, 3)
        parts = [
            firm.snapshot(store, f"part {night}", at=day(night), complete=False)
            for night in (5, 6, 7)
        ]
        assert removed(firm, store, keep=1) == [*digests[:2], *parts[:2]]


def test_a_removal_leaves_a_signed_tombstone_and_a_log_that_verifies(firm: Firm) -> None:
    with firm.open(write=True) as store:
        left = nightly(firm, store, 6)
        firm.tag(store, "m:x", left[5], at=day(10))
        note = make_checkpoint(store, firm.config, firm.signer())
        before = len(store.path.read_bytes()), store.log.size
        manifest = store.snapshots.load(left[0]).manifest
        found = prune(store, firm.desk(at=day(20)), Rule(keep=2), reason="two are enough")
        assert (found.removed, found.entries) == (left[:4], [before[1]])
        assert found.blobs >= 4 * 2
        entry = store.log.entry(before[1])
        verified = verify_bundle(store.blobs.get(entry.document), firm.trust.public_keys())
        claim = read_deletion_statement(verified.payload)
        assert [item.snapshot for item in claim.removed] == left[:4]
        assert claim.removed[0].manifest == manifest
        assert (claim.reason, claim.by) == ("two are enough", "alice")
        check_document("statement", verified.payload)
        check_document("store-prune", json.dumps(_plain(found)))
        for digest in left[:4]:
            assert not store.blobs.has(digest)
            with pytest.raises(NotStoredError):
                store.snapshots.resolve(digest)
        assert verify_log(store, firm.trust, checkpoint=note).problems == []
        assert [item.kind for item in list_log(store, limit=1).entries] == ["deletion"]
    rebuild_store(firm.path)
    assert check_store(firm.path) == []


def test_a_removal_nobody_signed_for_is_found(firm: Firm) -> None:
    with firm.open(write=True) as store:
        nightly(firm, store, 4)
        with pytest.raises(UntrustedError):
            prune(store, firm.desk("bob", at=day(9)), Rule(keep=1))
        with pytest.raises(UsageError, match="no key is configured"):
            prune(store, firm.desk(None, day(9)), Rule(keep=1))
        assert len(store.snapshots.list()) == 4
        # Somebody who can write the store makes a tombstone with a key of his own.
        from manifestd.signing.trust import load_trust

        own = firm.configured(
            '[[trust]]\nkey = "stranger.pem.pub"\nperson = "alice"\nmay = ["tag"]'
        )
        usurped = msgspec.structs.replace(firm.desk("stranger", day(9)), trust=load_trust(own))
        prune(store, usurped, Rule(keep=1))
        found = verify_log(store, firm.trust)
        assert [problem.code for problem in found.problems] == ["key-untrusted"]


def test_a_dry_run_changes_nothing(firm: Firm) -> None:
    with firm.open(write=True) as store:
        left = nightly(firm, store, 4)
        size = store.log.size
        found = prune(store, firm.desk(None, day(9)), Rule(keep=1), dry_run=True)
        assert (found.removed, found.dry_run, store.log.size) == (left[:3], True, size)
        assert len(store.snapshots.list()) == 4


def test_shared_pieces_and_bodies_stay_and_the_rest_goes(firm: Firm) -> None:
    with firm.open(write=True) as store:
        nightly(firm, store, 8)
        removed(firm, store, keep=1)
        kinds = _kinds(firm)
    assert {kind: kinds[kind] for kind in ("record", "leaf", "node", "body", "bundle")} == {
        "record": 1, "leaf": 2, "node": 2, "body": 1, "bundle": 1,
    }  # fmt: skip
    assert check_store(firm.path) == []


def test_bodies_stay_while_a_run_is_unfinished(firm: Firm) -> None:
    with firm.open(write=True) as store:
        nightly(firm, store, 8)
        bodies = _kinds(firm)["body"]
        store.journal("a run").append([("path", "token", b"data")])
        removed(firm, store, keep=1)
        assert _kinds(firm)["body"] == bodies
        assert _kinds(firm)["record"] == 1


def test_a_store_that_cannot_be_read_whole_is_not_pruned(firm: Firm) -> None:
    with firm.open(write=True) as store:
        left = nightly(firm, store, 4)
        content = store.snapshots.load(left[3]).content
    connection = sqlite3.connect(firm.path)
    connection.execute(
        "UPDATE blob SET data = zeroblob(size) WHERE digest = ?", (bytes.fromhex(content[7:]),)
    )
    connection.commit()
    connection.close()
    with firm.open(write=True) as store:
        with pytest.raises(TamperedError):
            removed(firm, store, keep=1)
        assert len(store.snapshots.list()) == 4
        assert next(store.log.entries(kinds=["deletion"]), None) is None


def test_a_record_that_is_also_a_file_of_another_snapshot_stays_as_that(firm: Firm) -> None:
    with firm.open(write=True) as store:
        left = nightly(firm, store, 2)
        text = store.snapshots.raw(left[0]).decode()
        holder = firm.snapshot(store, text, at=day(3), source="hf://org/holder")
        assert removed(firm, store, keep=1) == left[:1]
        [file] = store.trees.files(store.snapshots.load(holder))
        assert store.blobs.get(f"sha256:{file.sha256}").decode() == text
    rebuild_store(firm.path)
    assert check_store(firm.path) == []
    with firm.open() as store:
        assert left[0] not in {row.digest for row in store.snapshots.list()}


def test_as_of_still_names_the_digest_of_what_is_stored_no_more(firm: Firm) -> None:
    """Tags protect snapshots here; a store that was pruned by other means still answers."""
    with firm.open(write=True) as store:
        left = nightly(firm, store, 2)
        firm.tag(store, "m:x", left[0], at=day(2))
        state = store.tags.current()[0].claim.to
    connection = sqlite3.connect(firm.path)
    raw = bytes.fromhex(left[0][7:])
    for statement in ("DELETE FROM signature WHERE snapshot = (SELECT id FROM snapshot WHERE digest = ?)",
                      "DELETE FROM snapshot WHERE digest = ?", "DELETE FROM blob WHERE digest = ?"):  # fmt: skip
        connection.execute(statement, (raw,))
    connection.commit()
    connection.close()
    named = then(firm, "2026-04-01")["m:x"]
    assert state is not None
    assert (named.state.manifest, named.stored, named.source) == (state.manifest, False, None)
    with firm.open() as store:
        assert ledger(store, firm.trust).releases[0].source is None
        with pytest.raises(TamperedError, match="which the store does not have"):
            store.snapshots.resolve("m:x")


def _kinds(firm: Firm) -> dict[str, int]:
    connection = sqlite3.connect(firm.path)
    found = dict(connection.execute("SELECT kind, count(*) FROM blob GROUP BY kind").fetchall())
    connection.close()
    return found


@pytest.fixture
def shell(
    firm: Firm, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(firm.folder)
    (firm.folder / "manifestd.toml").write_text(
        '[store]\npath = "s.db"\n[signing]\nkey = "alice.pem"\n'
        '[[trust]]\nkey = "alice.pem.pub"\nperson = "al|ice"\nmay = ["snapshot", "tag"]\n'
    )
    with firm.open(write=True) as store:
        nightly(firm, store, 4)
        firm.tag(store, "m:prod", "hf://org/m", at=day(5), reason="go")

    def command(*arguments: str) -> tuple[int, str, str]:
        return run(list(arguments)), *capsys.readouterr()

    return command


def test_the_commands_answer_in_every_form(shell: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = shell("log", "--as-of", "2026-03-10", "--format", "json")
    assert code == 0
    check_document("log-as-of", out)
    assert json.loads(out)["tags"][0]["signature"] == "verified"
    out = shell("log", "--as-of", "2026-03-10")[1]
    assert "m:prod  sha256:" in out
    assert "verified (al|ice)" in out
    assert shell("log", "--as-of", "2026-03-01")[1].startswith("No tag named anything then.\n")
    assert shell("history")[1].splitlines()[1].split()[1:3] == ["m", "prod"]
    code, out, _ = shell("history", "--as", "json")
    check_document("history", out)
    assert shell("history", "m", "--as", "markdown", "-o", "R.md") == (0, "", "")
    [head, rule, line] = Path("R.md").read_text().splitlines()
    assert (head.count("|"), rule.count("|"), line.replace("\\|", "").count("|")) == (8, 8, 8)
    assert shell("history", "other")[1] == "Nothing was released: no tag of other was ever set.\n"


def test_the_prune_command_lists_then_removes(shell: Callable[..., tuple[int, str, str]]) -> None:
    assert shell("store", "prune")[0] == 2
    assert shell("--store", "no.db", "store", "prune", "--keep", "1")[0] == 3
    assert not Path("no.db").exists()
    code, out, _ = shell("store", "prune", "--keep", "2", "--dry-run")
    assert (code, out.count("would remove sha256:")) == (0, 2)
    code, out, _ = shell("store", "prune", "--keep", "2", "--format", "json", "--reason", "old")
    assert code == 0
    check_document("store-prune", out)
    assert len(json.loads(out)["removed"]) == 2
    assert shell("store", "prune", "--keep", "2")[1] == "0 snapshots, 0 that matched are kept.\n"
    assert shell("store", "check")[0] == 0
    assert "deletion" in shell("log", "--limit", "1")[1]
