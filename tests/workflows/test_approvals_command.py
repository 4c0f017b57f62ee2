"""``manifestd approve`` as its users run it: ask, sign elsewhere, bring back, see who is missing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd import canonical
from manifestd.cli.main import run
from manifestd.errors import UsageError
from manifestd.model.approval import approval_statement, read_approval_statement
from manifestd.model.moment import parse_span
from manifestd.signing.dsse import open_bundle, sign_statement
from manifestd.store import open_store
from manifestd.store.check import check_store
from manifestd.workflows.approving import add_approval, make_request, sign_request
from tests.support.schemas import check_document
from tests.workflows.release_world import START, TAG, Team

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def team(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Team:
    office = tmp_path / "office"
    office.mkdir()
    monkeypatch.chdir(office)
    team = Team(office, keys)
    write(office / "m", "1")
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    capsys.readouterr()
    return team


def write(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(f'{{"a": {text}}}')


def document(capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["approve", *arguments, "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    name = found["schema"].removeprefix("manifestd.").removesuffix("/v1")
    check_document(name, found)
    return code, found


def test_an_approval_travels_as_two_files_to_a_machine_that_has_only_a_key(
    team: Team, tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert run(["approve", TAG, "m", "--request", "-o", "request.json"]) == 0
    assert "manifestd approve --sign request.json" in capsys.readouterr().out
    check_document("approval-request", Path("request.json").read_bytes())
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    request, answer = "../office/request.json", "../office/approval.json"
    base = ["approve", "--sign", request, "--key", str(keys / "alice.pem")]
    assert run([*base, "-o", answer]) == 2
    assert "--yes" in capsys.readouterr().err
    assert run([*base, "-o", answer, "--yes"]) == 0
    shown = capsys.readouterr()
    assert "manifestd approve --add" in shown.out
    for word in (TAG, "manifest   sha256:", "policy     passes", "0 of 2 of ml"):
        assert word in shown.err
    assert list(home.iterdir()) == []
    monkeypatch.chdir(team.folder)
    code, found = document(capsys, "--add", "approval.json")
    assert (code, found["action"], found["by"]) == (0, "approved", "alice")
    assert found["status"]["needs"][0]["have"] == ["alice"]
    # What was shown is kept, and is what was signed.
    with open_store(team.path) as store:
        kept = store.blobs.get(found["status"]["approvals"][0]["request"])
    assert kept == Path("request.json").read_bytes()
    assert document(capsys, "--add", "approval.json")[1]["action"] == "unchanged"
    # An editor's newline at the end is no change; anything else is.
    Path("approval.json").write_bytes(Path("approval.json").read_bytes() + b"\n")
    assert document(capsys, "--add", "approval.json")[0] == 0
    Path("approval.json").write_bytes(Path("approval.json").read_bytes().replace(b"sig", b"sog"))
    assert document(capsys, "--add", "approval.json")[1]["code"] == "malformed"


def test_an_approval_of_a_request_that_was_changed_on_its_way_is_told(
    team: Team, keys: Path, capsys: Capture
) -> None:
    assert run(["approve", TAG, "m", "--request", "-o", "request.json"]) == 0
    asked = Path("request.json").read_bytes()
    # The digests are left alone, so whoever signs it approves the right bytes by a wrong picture.
    assert b'"measured": 1' in asked
    Path("changed.json").write_bytes(asked.replace(b'"measured": 1', b'"measured": 9'))
    for name, key, known in (("request", "alice", True), ("changed", "bob", False)):
        words = ["approve", "--sign", f"{name}.json", "--key", str(keys / f"{key}.pem"), "--yes"]
        assert run([*words, "-o", f"{key}.json"]) == 0
        capsys.readouterr()
        code, found = document(capsys, "--add", f"{key}.json")
        assert (code, found["requestKnown"]) == (0, known)
        check_document("approval-result", found)
        assert run(["approve", "--add", f"{key}.json"]) == 0
        assert ("changed on its way" in capsys.readouterr().err) is not known


def test_who_approved_and_who_is_missing_is_shown(team: Team, capsys: Capture) -> None:
    assert run(["approve", "--status", TAG, "m"]) == 1
    assert "0 of 2 of ml; missing 2, could be: alice, bob" in capsys.readouterr().out
    for by in ("alice", "alice2"):
        assert document(capsys, TAG, "m", "--key", f"keys/{by}.pem", "--yes")[0] == 0
    assert run(["approve", "--status", TAG, "m"]) == 1
    text = capsys.readouterr().out
    assert "1 of 2 of ml (alice); missing 1, could be: bob" in text
    assert text.count("alice, sha256:") == 2
    assert run(["tag", TAG, "m"]) == 1
    assert "1 more of ml (could be: bob); 1 more of compliance (could be: carol)" in (
        capsys.readouterr().err
    )
    for by in ("bob", "carol"):
        assert run(["approve", TAG, "m", "--key", f"keys/{by}.pem", "--yes"]) == 0
    assert run(["tag", TAG, "m"]) == 0
    capsys.readouterr()
    code, found = document(capsys, "--status", TAG)
    assert (code, found["holds"]) == (0, True)


def test_the_next_release_is_shown_against_the_one_before(team: Team, capsys: Capture) -> None:
    for by in ("alice", "bob", "carol"):
        assert run(["approve", TAG, "m", "--key", f"keys/{by}.pem", "--yes"]) == 0
    assert run(["tag", TAG, "m"]) == 0
    write(Path("m"), "2")
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    capsys.readouterr()
    assert run(["approve", TAG, "m", "--key", "keys/bob.pem", "--yes", "--reason", "v2"]) == 0
    shown = capsys.readouterr()
    assert "/a: 1 -> 2" in shown.err
    assert "1 of 2 of ml (bob)" in shown.out


def test_an_approval_is_taken_back_with_a_reason(team: Team, capsys: Capture) -> None:
    _, found = document(capsys, TAG, "m", "--key", "keys/bob.pem", "--yes")
    revoke = ["--revoke", found["approval"], "--key", "keys/carol.pem"]
    assert document(capsys, *revoke)[1]["code"] == "usage"
    code, found = document(capsys, *revoke, "--reason", "a flaw")
    assert (code, found["action"]) == (0, "revoked")
    assert found["status"]["approvals"][0]["why"] == "revoked by carol (a flaw)"
    assert document(capsys, *revoke, "--reason", "again")[1]["action"] == "unchanged"


def test_a_key_that_does_not_count_is_refused(team: Team, capsys: Capture) -> None:
    for by in ("stranger", "nina", "ci"):
        code, found = document(capsys, TAG, "m", "--key", f"keys/{by}.pem", "--yes")
        assert (code, found["code"]) == (4, "key-untrusted")


def test_an_approval_under_a_policy_that_changed_since_is_kept_and_does_not_count(
    team: Team, capsys: Capture
) -> None:
    assert run(["approve", TAG, "m", "--request", "-o", "request.json"]) == 0
    sign = ["approve", "--sign", "request.json", "--key", "keys/bob.pem", "--yes", "-o", "a.json"]
    assert run(sign) == 0
    team.configure(policy='[policy]\nforbidden = ["*.pkl"]\n')
    code, found = document(capsys, "--add", "a.json")
    assert (code, found["action"]) == (1, "approved")
    assert "another policy" in found["status"]["approvals"][0]["why"]


def test_hostile_names_reach_no_terminal(team: Team, capsys: Capture) -> None:
    (Path("m") / "\x1b[2J.json").write_text("{}")
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    assert run(["approve", TAG, "m", "--key", "keys/bob.pem", "--yes", "--reason", "\x1b[2J"]) == 0
    assert run(["approve", "--status", TAG, "m"]) == 1
    seen = capsys.readouterr()
    assert "\x1b" not in seen.out + seen.err


@pytest.mark.parametrize(
    "arguments",
    [
        [], [TAG], [TAG, "m", "--request", "--status"], ["--add", "x", TAG], ["--sign", "nothing"],
        ["--add", "nothing"], ["--revoke", "00"], ["--status"], ["--status", TAG],
        ["nocolon", "m", "--request"], [TAG, "m", "--request", "--valid-for", "90"],
        [TAG, "m", "--request", "--valid-for", "9999w"],
    ],
)  # fmt: skip
def test_wrong_usage_is_said_and_changes_nothing(
    team: Team, capsys: Capture, arguments: list[str]
) -> None:
    with open_store(team.path) as store:
        size = store.log.size
    assert run(["approve", *arguments]) == 2
    with open_store(team.path) as store:
        assert store.log.size == size


def test_a_file_that_is_something_else_is_named_with_what_makes_the_right_one(
    team: Team, capsys: Capture
) -> None:
    (team.folder / "junk").write_text("junk")
    for option, maker in (("--add", "approve --sign REQUEST"), ("--sign", "REF --request -o FILE")):
        code, found = document(capsys, option, "junk", "--key", "keys/alice.pem")
        assert code == 4
        assert found["what"].startswith("junk: "), found
        assert maker in found["hint"], found


def test_spans_of_time_are_read_as_people_write_them() -> None:
    assert [parse_span(text).days for text in ("48h", "90d", "4w")] == [2, 90, 28]
    for text in ("", "h", "1", "-1d", "1.5d", "٣d", "1m", "1000000d"):
        with pytest.raises(UsageError):
            parse_span(text)


def test_the_request_of_a_direct_approval_is_kept_too(team: Team, capsys: Capture) -> None:
    _, found = document(capsys, TAG, "m", "--key", "keys/bob.pem", "--yes")
    digest = found["status"]["approvals"][0]["request"]
    with open_store(team.path) as store:
        data = store.blobs.get(digest)
    assert digest == "sha256:" + canonical.sha256_hex(data)
    check_document("approval-request", data)
    approval = found["approval"]
    capsys.readouterr()
    assert run(["approve", "--shown", approval[:19], "--format", "json"]) == 0
    assert capsys.readouterr().out.encode() == data
    assert run(["approve", "--shown", approval]) == 0
    assert capsys.readouterr().out.startswith(f"To approve: {TAG}\n  manifest   sha256:")
    with open_store(team.path) as store:
        [entry] = store.log.entries(kinds=["approval"])
    assert entry.fact("request") == digest
    assert check_store(team.path) == []
    with sqlite3.connect(team.path) as database:
        database.execute("DELETE FROM blob WHERE digest = ?", (bytes.fromhex(digest[7:]),))
    [problem] = check_store(team.path)
    assert f"names {digest}, which is gone" in problem.what
    code, found = document(capsys, "--shown", approval)
    assert (code, found["code"]) == (3, "not-stored")
    assert "not kept here" in found["what"]


def test_an_approval_cannot_turn_other_documents_into_requests(team: Team, capsys: Capture) -> None:
    """Its giver chooses the digest of the request, and pins nothing else by that."""
    with open_store(team.path, write=True) as store:
        [row] = store.snapshots.list()
        request = make_request(store, team.desk(), TAG, row.digest)
        approval = open_bundle(sign_request(request, team.signer("bob"), now=START, tool="t"))
        said = read_approval_statement(approval.payload)
        odd = msgspec.structs.replace(said, request=row.digest)
        bundle = sign_statement(approval_statement(odd), team.signer("bob"))
        add_approval(store, team.desk(), bundle)
        [entry] = store.log.entries(kinds=["approval"])
    assert entry.fact("request") is None
    assert check_store(team.path) == []
