"""Tags: signed moves that the log keeps, rules that hold, one winner of two, the digest always."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manifestd import canonical
from manifestd.cli.main import run
from manifestd.errors import (
    MalformedError,
    NotApprovedError,
    NotCanonicalError,
    NotStoredError,
    SignatureError,
    TamperedError,
    UndecidedError,
    UntrustedError,
    UsageError,
)
from manifestd.model.entry import Problem
from manifestd.model.tag import (
    TagPredicate,
    Target,
    check_tag,
    read_tag_statement,
    split_tag,
    tag_statement,
)
from manifestd.signing.dsse import sign_statement, verify_bundle
from manifestd.store import Store
from manifestd.store.check import check_store
from manifestd.workflows.proofs import verify_log
from manifestd.workflows.tags import delete_tag, list_tags, set_tag, tag_history
from tests.support.schemas import check_document
from tests.workflows.history_world import Firm, day

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    return Firm(tmp_path, rules='[[tags]]\npattern = "*:v*"\nimmutable = true\n')


def test_a_move_says_who_when_why_from_and_to(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        first = firm.tag(store, "org/m:production", one, reason="release 1", at=day(1))
        second = firm.tag(store, "org/m:production", two, by="ed", reason="release 2", at=day(2))
        assert (first.action, first.from_, first.snapshot) == ("set", None, one)
        assert (second.action, second.from_, second.snapshot) == ("moved", one, two)
        [begin, end] = tag_history(store, firm.trust, "org/m:production").moves
        assert (begin.from_, begin.state.snapshot, begin.state.by) == (None, one, "alice")
        assert (end.from_, end.state.snapshot, end.state.by) == (one, two, "ed")
        assert (end.state.reason, end.state.signature) == ("release 2", "verified")
        assert end.state.since == "2026-03-03T12:00:00.000000Z"
        assert end.state.manifest == store.snapshots.load(two).manifest
        assert list_tags(store, firm.trust).tags == [end.state]
        assert list_tags(store, firm.trust, "org/m:production").tags == [end.state]
    assert check_store(firm.path) == []


def test_the_statement_is_an_in_toto_statement_about_snapshot_and_manifest(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        firm.tag(store, "m:x", one)
        [state] = list_tags(store, firm.trust, "m:x").tags
        verified = verify_bundle(store.blobs.get(state.statement), firm.trust.public_keys())
        check_document("statement", verified.payload)
        statement = json.loads(verified.payload)
        assert {item["name"]: item["digest"]["sha256"] for item in statement["subject"]} == {
            "snapshot": one[7:],
            "manifest": str(state.manifest)[7:],
        }
        assert statement["predicate"]["tag"] == "m:x"


def test_a_tag_resolves_now_and_at_any_time_before(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        firm.tag(store, "m:prod", one, at=day(1))
        firm.tag(store, "m:prod", two, at=day(2))
        delete_tag(store, firm.desk(at=day(3)), "m:prod", reason="over")
        firm.tag(store, "m:prod", one, at=day(4))
        resolve = store.snapshots.resolve
        assert resolve("m:prod") == one
        assert resolve("m:prod@{2026-03-02}") == one
        assert resolve("m:prod@{2026-03-03}") == two
        assert resolve("m:prod@{2026-03-03T11:59:59Z}") == one
        assert resolve("m:prod@{2026-03-03T12:00:00Z}") == two
        for gone in ("2026-03-04", "2026-03-01"):
            with pytest.raises(NotStoredError, match=f"m:prod named nothing at {gone}") as caught:
                resolve(f"m:prod@{{{gone}}}")
            assert "tag --history m:prod" in (caught.value.hint or "")
        with pytest.raises(NotStoredError) as caught:
            resolve("m:prd")
        assert caught.value.hint == "the store has m:prod"
        delete_tag(store, firm.desk(at=day(5)), "m:prod", reason="over")
        with pytest.raises(
            NotStoredError, match="m:prod names nothing now, it was deleted"
        ) as caught:
            resolve("m:prod")
        assert "tag --history m:prod" in (caught.value.hint or "")


def test_a_snapshot_filed_under_a_name_like_a_tag_does_not_stand_in_for_the_tag(
    firm: Firm,
) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        firm.snapshot(store, "2", name="m:production")
        with pytest.raises(NotStoredError) as caught:
            store.snapshots.resolve("m:production")
        assert "which is no tag: `manifestd list --name m:production`" in str(caught.value.hint)
        firm.tag(store, "m:production", one)
        assert store.snapshots.resolve("m:production") == one


@pytest.mark.parametrize("command", [["show"], ["files"], ["diff", "m:a"], ["verify"]])
def test_a_tag_is_a_reference_in_every_command(
    firm: Firm, capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(firm.folder)
    with firm.open(write=True) as store:
        digest = firm.snapshot(store, "1")
        firm.tag(store, "m:a", digest)
    alice = '[[trust]]\nkey = "alice.pem.pub"\nperson = "alice"\n'
    (firm.folder / "manifestd.toml").write_text(alice)
    assert run(["--store", "s.db", *command, "m:a", "--format", "json"]) == 0
    assert digest in capsys.readouterr().out


def test_an_immutable_tag_is_set_once_and_the_store_stays_as_it_was(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        firm.tag(store, "m:v1", one)
        before = (store.log.size, store.log.root())
        with pytest.raises(UsageError, match=f"immutable and names {one}"):
            firm.tag(store, "m:v1", two)
        with pytest.raises(UsageError, match="immutable") as caught:
            delete_tag(store, firm.desk(), "m:v1", reason="oops")
        assert (caught.value.hint or "").startswith("it stays")
        assert firm.tag(store, "m:v1", one).action == "unchanged"
        assert (store.log.size, store.log.root()) == before
        assert store.snapshots.resolve("m:v1") == one


def test_an_incomplete_snapshot_has_no_identity_to_name(firm: Firm) -> None:
    problem = Problem(path="a", code="unreadable", what="no", severity="error")
    with firm.open(write=True) as store:
        whole = firm.snapshot(store, "1")
        part = firm.snapshot(store, "2", problems=[problem], complete=False)
        firm.tag(store, "m:x", whole)
        with pytest.raises(UsageError, match="incomplete"):
            firm.tag(store, "m:x", part)
        assert store.snapshots.resolve("m:x") == whole


def test_who_has_no_key_or_a_key_that_does_not_count_moves_nothing(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        size = store.log.size
        with pytest.raises(UsageError, match="no key is configured"):
            firm.tag(store, "m:x", one, by=None)
        with pytest.raises(UntrustedError, match="bob does not count for tag"):
            firm.tag(store, "m:x", one, by="bob")
        with pytest.raises(UntrustedError, match="not trusted"):
            firm.tag(store, "m:x", one, by="stranger")
        with pytest.raises(UntrustedError, match="bob does not count for tag"):
            delete_tag(store, firm.desk("bob"), _tagged(firm, store, one), reason="x")
        assert store.log.size == size + 1


def _tagged(firm: Firm, store: Store, digest: str) -> str:
    firm.tag(store, "m:tagged", digest)
    return "m:tagged"


def test_a_snapshot_with_a_wrong_signature_is_not_tagged(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        good = store.snapshots.bundles(one)[0].decode()
        wrong = json.loads(store.snapshots.bundles(two)[0])
        signatures = json.loads(good)["dsseEnvelope"]["signatures"]
        wrong["dsseEnvelope"]["signatures"] = signatures
        store.snapshots.attach(two, canonical.encode(wrong))
        with pytest.raises(SignatureError, match="does not verify"):
            firm.tag(store, "m:x", two)


def test_what_is_expected_must_be_so(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        with pytest.raises(UndecidedError, match="names nothing, not sha256:"):
            firm.tag(store, "m:x", one, expect=two)
        assert firm.tag(store, "m:x", one, expect="none").action == "set"
        with pytest.raises(UndecidedError, match=f"names {one}, not none"):
            firm.tag(store, "m:x", two, expect="none")
        assert firm.tag(store, "m:x", two, expect=one).action == "moved"


def test_deleting_leaves_a_signed_end_and_the_whole_history(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        firm.tag(store, "m:x", one)
        gone = delete_tag(store, firm.desk(at=day(1)), "m:x", reason="withdrawn")
        assert (gone.action, gone.from_, gone.snapshot) == ("deleted", one, None)
        assert list_tags(store, firm.trust).tags == []
        last = tag_history(store, firm.trust, "m:x").moves[-1].state
        assert (last.snapshot, last.reason, last.signature) == (None, "withdrawn", "verified")
        for action in (
            lambda: delete_tag(store, firm.desk(), "m:x", reason="again"),
            lambda: tag_history(store, firm.trust, "m:never"),
        ):
            with pytest.raises(NotStoredError):
                action()
    assert check_store(firm.path) == []


def test_of_two_moves_from_the_same_state_one_wins_and_the_other_says_so(firm: Firm) -> None:
    with firm.open(write=True) as store:
        digests = [firm.snapshot(store, text) for text in "123"]
        firm.tag(store, "m:x", digests[0])
        moves = [
            sign_statement(tag_statement(_claim(store, digests[0], to)), firm.signer())
            for to in digests[1:]
        ]
        store.tags.move(moves[0], day(1))
        size = store.log.size
        with pytest.raises(UndecidedError, match="m:x was moved meanwhile by alice") as caught:
            store.tags.move(moves[1], day(1))
        assert caught.value.exit_code == 3
        assert store.log.size == size
        assert store.snapshots.resolve("m:x") == digests[1]


def _target(store: Store, digest: str) -> Target:
    manifest = store.snapshots.load(digest).manifest
    assert manifest is not None
    return Target(snapshot=digest, manifest=manifest)


def _claim(store: Store, from_: str | None, to: str | None, tag: str = "m:x") -> TagPredicate:
    return TagPredicate(
        tag=tag,
        from_=None if from_ is None else _target(store, from_),
        to=None if to is None else _target(store, to),
        at="2026-03-01T12:00:00Z",
        by="alice",
        key_id="0" * 64,
        reason=None,
        tool="test",
    )


def test_of_two_processes_that_move_one_tag_exactly_one_wins(firm: Firm) -> None:
    with firm.open(write=True) as store:
        start = firm.snapshot(store, "0")
        ends = [firm.snapshot(store, text) for text in "12"]
        firm.tag(store, "m:x", start)
    (firm.folder / "manifestd.toml").write_text(
        '[signing]\nkey = "alice.pem"\n[[trust]]\nkey = "alice.pem.pub"\nperson = "alice"\n'
        'may = ["snapshot", "tag"]\n'
    )
    command = [sys.executable, "-m", "manifestd", "--store", "s.db", "tag", "m:x"]
    runs = [
        subprocess.Popen(
            [*command, end, "--expect", start], cwd=firm.folder, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for end in ends
    ]  # fmt: skip
    errors = [process.communicate()[1] for process in runs]
    codes = [process.returncode for process in runs]
    assert sorted(codes) == [0, 3]
    winner = codes.index(0)
    assert "m:x" in errors[1 - winner]
    with firm.open() as store:
        assert store.snapshots.resolve("m:x") == ends[winner]
        assert len(tag_history(store, firm.trust, "m:x").moves) == 2
    assert check_store(firm.path) == []


def test_a_signed_move_is_true_once_and_cannot_be_made_again(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        firm.tag(store, "m:x", one)
        firm.tag(store, "m:x", two, at=day(1))
        old = store.blobs.get(list_tags(store, firm.trust, "m:x").tags[0].statement)
        firm.tag(store, "m:x", one, at=day(2))
        # The tag is back where that move began; whoever kept it has no power over the tag.
        with pytest.raises(MalformedError, match="made before"):
            store.tags.move(old, day(3))
        last = store.log.entry(store.log.size - 2)
        store.log.append("tag", last.document, day(3), last.facts)
        with pytest.raises(TamperedError, match="logged twice"):
            store.snapshots.resolve("m:x")
    assert any("a second time" in problem.what for problem in check_store(firm.path))


def test_a_move_that_somebody_else_signed_is_shown_as_that_and_found(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        claim = tag_statement(_claim(store, None, one))
        store.tags.move(sign_statement(claim, firm.signer("bob")), day(1))
        [state] = list_tags(store, firm.trust, "m:x").tags
        assert (state.signature, state.by) == ("untrusted", "bob")
        assert "bob does not count for tag" in str(state.why)
        found = verify_log(store, firm.trust)
        assert not found.verified
        assert [problem.code for problem in found.problems] == ["key-untrusted"]


TAMPERING: dict[str, tuple[str, ...]] = {
    "where the tag points, in the index": (
        "UPDATE log SET document = (SELECT min(document) FROM log) WHERE kind = 'tag'",
    ),
    "which tag it was": ("UPDATE log SET tag = 'm:other' WHERE kind = 'tag'",),
    "that there was a move": ("DELETE FROM log WHERE id = (SELECT max(id) FROM log)",),
    "the statement": (
        "UPDATE blob SET data = replace(CAST(data AS TEXT), 'sig', 'gis') WHERE kind = 'statement'",
    ),
    "the statement's blob": ("DELETE FROM blob WHERE kind = 'statement'",),
    "the record it names": (
        "DELETE FROM signature", "DELETE FROM snapshot", "DELETE FROM blob WHERE kind = 'record'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERING)
def test_check_finds_a_change_of(firm: Firm, what: str) -> None:
    with firm.open(write=True) as store:
        firm.tag(store, "m:x", firm.snapshot(store, "1"))
        firm.tag(store, "m:x", firm.snapshot(store, "2"), at=day(1))
    connection = sqlite3.connect(firm.path)
    for statement in TAMPERING[what]:
        assert connection.execute(statement).rowcount
    connection.commit()
    connection.close()
    assert check_store(firm.path, log_only=True)
    assert check_store(firm.path)


@pytest.mark.parametrize(
    "text",
    [
        "", "m", ":x", "m:", "m:x:y", "m:-x", "m:x y", "m/:x", "/m:x", "../m:x", "m//n:x", ".m:x",
        "m:x\n", "hf://org/m", "s3://b:x", "sha256:abcdef01", "m:" + "x" * 129, "n" * 256 + ":x",
        "m@{2026}:x", "m\x1b[31m:x", "\u043c:x", "m:\u0445",
    ],
)  # fmt: skip
def test_a_name_that_could_be_taken_for_something_else_is_no_tag(text: str) -> None:
    assert split_tag(text) is None
    with pytest.raises(UsageError, match="not a tag"):
        check_tag(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("m:latest", ("m", "latest")),
        ("org/model:7b-chat-q8_0", ("org/model", "7b-chat-q8_0")),
        ("a/b/c.d:v1.2", ("a/b/c.d", "v1.2")),
        ("m:" + "x" * 128, ("m", "x" * 128)),
    ],
)
def test_names_of_registries_are_tags(text: str, parts: tuple[str, str]) -> None:
    assert split_tag(text) == parts
    assert check_tag(text) == text


def test_a_statement_has_one_spelling_and_its_subjects_are_its_target(firm: Firm) -> None:
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2")
        claim = _claim(store, one, two)
    payload = tag_statement(claim)
    assert read_tag_statement(payload) == claim
    for old, new in (
        (b'"name":"snapshot"', b'"name":"snapshos"'),
        (two[7:].encode(), one[7:].encode()),
        (b'"tag":"m:x"', b'"tag":"m x"'),
        (b"predicate/tag/v1", b"predicate/tag/v2"),
        (b'"reason":null', b'"reason":""x'),
        (b'"_type"', b'"_a":1,"_type"'),
        (b'"by":', b'"also":1,"by":'),
    ):
        with pytest.raises((MalformedError, NotCanonicalError)):
            read_tag_statement(payload.replace(old, new, 1))
    with pytest.raises(MalformedError, match="nothing to nothing"):
        tag_statement(_claim(store, None, None))


@pytest.fixture
def shell(
    firm: Firm, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in a directory with a configuration and two snapshots of ``model``."""
    monkeypatch.chdir(firm.folder)
    for name in ("MANIFESTD_CONFIG", "MANIFESTD_STORE"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        return code, *capsys.readouterr()

    assert run(["init"]) == 0
    model = firm.folder / "model"
    model.mkdir()
    for text in ("1", "2"):
        (model / "config.json").write_text(text)
        assert run(["-q", "snapshot", "dir", "model"]) == 0
    capsys.readouterr()
    return command


def test_the_command_sets_shows_and_deletes(shell: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = shell("tag", "m:prod", "model", "--reason", "go", "--format", "json")
    assert code == 0
    check_document("tag-result", out)
    digest = json.loads(out)["snapshot"]
    code, out, _ = shell("tag", "--list")
    assert code == 0
    assert digest in out
    code, out, _ = shell("tag", "--list", "m", "--format", "json")
    check_document("tags", out)
    assert [item["tag"] for item in json.loads(out)["tags"]] == ["m:prod"]
    assert shell("tag", "--list", "other")[1] == "There is no such tag.\n"
    assert shell("tag", "m:prod", "model")[1].startswith("tag       m:prod  unchanged\n")
    code, out, _ = shell("tag", "--history", "m:prod")
    assert code == 0
    assert f"  to   {digest}\n  why  go\n" in out
    check_document("tag-history", shell("tag", "--history", "m:prod", "--format", "json")[1])
    assert shell("tag", "--delete", "m:prod")[0] == 2
    code, out, _ = shell("tag", "--delete", "m:prod", "--reason", "bad", "--format", "json")
    assert code == 0
    check_document("tag-result", out)
    assert shell("show", "m:prod")[0] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["tag"], 2, "a tag and a snapshot are needed"),
        (["tag", "m:x"], 2, "a tag and a snapshot are needed"),
        (["tag", "m x", "model"], 2, "not a tag"),
        (["tag", "m:x", "nothing"], 3, "nothing in the store"),
        (["tag", "m:x", "model", "--expect", "model"], 3, "names nothing"),
        (["tag", "--history", "m:x"], 3, "there is no tag m:x"),
        (["tag", "--list", "--delete", "m:x"], 2, "exclude each other"),
        (["tag", "m:x", "model", "--reason", "x" * 2001], 2, "at most 2000"),
        (["tag", "m:x", "model", "--key", "nokey.pem"], 2, "no key file"),
        (["tag", "m:x", "model", "--key", "stranger.pem"], 4, "is not trusted"),
    ],
)
def test_the_command_says_what_is_wrong(
    shell: Callable[..., tuple[int, str, str]], arguments: list[str], code: int, says: str
) -> None:
    found, _, err = shell(*arguments)
    assert found == code
    assert says in err


def test_a_mistyped_store_is_not_made(shell: Callable[..., tuple[int, str, str]]) -> None:
    assert shell("--store", "no.db", "tag", "m:x", "model")[0] == 3
    assert not Path("no.db").exists()


def test_a_hostile_reason_does_not_reach_the_terminal(
    shell: Callable[..., tuple[int, str, str]],
) -> None:
    assert shell("tag", "m:x", "model", "--reason", "a\x1b[2Jb\u202e")[0] == 0
    out = shell("tag", "--history", "m:x")[1]
    assert "\\x1b[2Jb\\u202e" in out
    assert "\x1b" not in out


def test_set_tag_needs_approvals_where_the_rule_says_so(tmp_path: Path) -> None:
    firm = Firm(tmp_path, rules='[[tags]]\npattern = "*:prod"\napprovals = [{ count = 1 }]\n')
    with firm.open(write=True) as store:
        one = firm.snapshot(store, "1")
        size = store.log.size
        with pytest.raises(NotApprovedError):
            set_tag(store, firm.desk(), "m:prod", one)
        assert store.log.size == size
        assert set_tag(store, firm.desk(), "m:other", one).action == "set"
