"""The gate as a pipeline runs it: opens for the approved bytes, wherever they are, and for no others."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from manifestd.cli.main import run
from manifestd.model.gate import GateCheck, exit_code_of
from manifestd.store import open_store
from tests.support.s3_server import aws_environment, client, reset
from tests.support.schemas import check_document
from tests.support.trees import write_tree
from tests.workflows.release_world import TAG, Team

Capture = pytest.CaptureFixture[str]
FILES = {
    "config.json": b'{"torch_dtype": "float16"}',
    "README.md": b"---\nlicense: mit\n---\n# M\n",
    "weights/part.bin": b"w" * 10_000,
}
POLICY = '[policy]\nlicenses = ["mit"]\nmin_evidence = "stored"\n'


@pytest.fixture
def team(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Team:
    """A model that was snapshotted, approved by three people and tagged."""
    monkeypatch.chdir(tmp_path)
    team = Team(tmp_path, keys, policy=POLICY)
    write_tree(tmp_path / "m", FILES)
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    for by in ("alice", "bob", "carol"):
        assert run(["approve", TAG, "m", "--key", f"keys/{by}.pem", "--yes"]) == 0
    assert run(["tag", TAG, "m"]) == 0
    capsys.readouterr()
    return team


def gate(capsys: Capture, *arguments: str, tag: str = TAG) -> tuple[int, dict[str, Any]]:
    """Exit code and document of a gate."""
    capsys.readouterr()
    code = run(["-q", "gate", tag, *arguments, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    if document["schema"] == "manifestd.gate/v1":
        check_document("gate", document)
        assert document["exitCode"] == code
        assert document["open"] == (code == 0)
    return code, document


def states(document: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in document["checks"]}


def closed(document: dict[str, Any]) -> list[str]:
    return [name for name, state in states(document).items() if state != "ok"]


def test_the_approved_bytes_pass_from_a_copy_in_a_directory(team: Team, capsys: Capture) -> None:
    shutil.copytree("m", "copy")
    code, document = gate(capsys, "copy")
    assert code == 0
    assert set(states(document).values()) == {"ok"}
    assert document["fresh"]
    assert document["manifest"] == document["released"]["manifest"]
    assert document["snapshot"] != document["released"]["snapshot"]


def test_the_approved_bytes_pass_from_s3_and_one_flipped_byte_does_not(
    team: Team, capsys: Capture, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset(moto)
    aws_environment(monkeypatch, moto, team.folder)
    s3 = client(moto)
    s3.create_bucket(Bucket="models")
    for name, data in FILES.items():
        s3.put_object(Bucket="models", Key=f"m/{name}", Body=data)
    assert gate(capsys, "s3://models/m/")[0] == 0
    flipped = FILES["weights/part.bin"][:-1] + b"W"
    s3.put_object(Bucket="models", Key="m/weights/part.bin", Body=flipped)
    code, document = gate(capsys, "s3://models/m/")
    assert code == 1
    assert closed(document) == ["bytes"]
    [check] = [check for check in document["checks"] if check["name"] == "bytes"]
    assert check["details"] == ["weights/part.bin: different"]
    assert "manifestd diff" in check["opens"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config.json": b'{"torch_dtype": "float17"}'}, "config.json: different"),
        ({"evil.py": b"import os"}, "evil.py: not part of what was released"),
        ({"weights/part.bin": None}, "weights/part.bin: missing"),
    ],
    ids=["flipped", "added", "missing"],
)
def test_a_directory_with_other_files_is_closed(
    team: Team, capsys: Capture, change: dict[str, bytes | None], told: str
) -> None:
    shutil.copytree("m", "copy")
    for name, data in change.items():
        if data is None:
            Path("copy", name).unlink()
        else:
            Path("copy", name).write_bytes(data)
    code, document = gate(capsys, "copy")
    assert code == 1
    assert told in document["checks"][1]["details"]


def test_a_stored_snapshot_needs_no_network_and_a_dead_place_is_undecided(
    team: Team, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    snapshot = gate(capsys, "m")[1]["snapshot"]
    for reference in (snapshot, TAG):
        code, document = gate(capsys, reference)
        assert (code, document["fresh"]) == (0, False)
    shutil.rmtree("m")
    assert gate(capsys, "m")[0] == 0
    code, document = gate(capsys, "./m")
    assert (code, states(document)["bytes"]) == (3, "unknown")
    assert document["checks"][1]["opens"] == "check the path"
    assert gate(capsys, "./m", "--offline")[0] == 0
    assert gate(capsys, "nothing")[1]["code"] == "not-stored"


def test_an_unsigned_copy_does_not_verify(team: Team, capsys: Capture) -> None:
    shutil.copytree("m", "copy")
    assert run(["-q", "snapshot", "dir", "copy", "--no-sign"]) == 0
    code, document = gate(capsys, "copy", "--offline")
    assert code == 4
    assert closed(document) == ["signature"]
    assert "unsigned" in document["checks"][2]["what"]


def test_a_machine_without_a_key_may_look_at_a_place_itself(team: Team, capsys: Capture) -> None:
    config = Path("manifestd.toml")
    config.write_text(config.read_text().replace('[signing]\nkey = "keys/ci.pem"\n', ""))
    assert gate(capsys, "m")[0] == 0


def test_a_released_snapshot_that_nobody_trusts_closes_every_gate(
    team: Team, capsys: Capture
) -> None:
    team.configure(without="ci", policy=POLICY)
    code, document = gate(capsys, "m")
    assert code == 4
    assert {"tag", "signature"} <= set(closed(document))


def test_a_missing_approval_is_told_with_names_and_the_command_that_asks_for_it(
    team: Team, capsys: Capture
) -> None:
    capsys.readouterr()
    assert run(["approve", "--status", TAG, "--format", "json"]) == 0
    status = json.loads(capsys.readouterr().out)
    check_document("approval-status", status)
    mine = next(item["approval"] for item in status["approvals"] if item["person"] == "bob")
    assert run(["approve", "--revoke", mine, "--reason", "a flaw", "--key", "keys/bob.pem"]) == 0
    code, document = gate(capsys, "m")
    assert code == 1
    assert closed(document) == ["approvals"]
    check = document["checks"][-1]
    assert check["what"] == "missing: 1 more of ml (could be: bob)"
    assert check["details"] == ["bob's does not count: revoked by bob (a flaw)"]
    assert check["opens"].startswith(f"manifestd approve {TAG} sha256:")


def test_another_policy_makes_approvals_stale(team: Team, capsys: Capture) -> None:
    team.configure(policy='[policy]\nlicenses = ["mit", "apache-2.0"]\n')
    code, document = gate(capsys, "m")
    assert code == 1
    assert closed(document) == ["approvals"]
    assert "another policy" in " ".join(document["checks"][-1]["details"])


def test_the_policy_of_today_counts_and_waivers_reach_copies(team: Team, capsys: Capture) -> None:
    shutil.copytree("m", "copy")
    forbidden = '[policy]\nforbidden = ["*.bin"]\n'
    team.configure(rules="", policy=forbidden)
    code, document = gate(capsys, "copy")
    assert (code, closed(document)) == (1, ["policy"])
    assert any("part.bin" in line for line in document["checks"][4]["details"])
    waiver = (
        '[[policy.waiver]]\nmodel = "m"\nrule = "forbidden"\nowner = "alice"\nreason = "old"\n'
        "expires = 2099-01-01\n"
    )
    team.configure(rules="", policy=forbidden + waiver)
    assert gate(capsys, "copy")[0] == 0


def test_evidence_that_is_too_weak_is_told_apart(team: Team, capsys: Capture) -> None:
    team.configure(rules="", policy='[policy]\nmin_evidence = "measured"\n')
    assert gate(capsys, "m")[0] == 1  # measured before, and reused now
    code, document = gate(capsys, "m", "--read", "all")
    assert (code, closed(document)) == (1, ["evidence"])
    assert "reused" in document["checks"][3]["what"]
    assert document["checks"][3]["opens"].endswith(
        "--read all --fresh, and gate that with --offline"
    )
    assert run(["-q", "snapshot", "dir", "m", "--read", "all", "--fresh"]) == 0
    assert gate(capsys, "./m", "--offline")[0] == 0
    shutil.copytree("m", "copy")
    assert gate(capsys, "copy")[0] == 0


def test_a_tag_that_names_nothing_is_closed(team: Team, capsys: Capture) -> None:
    code, document = gate(capsys, "m", tag="m:staging")
    assert code == 1
    assert states(document)["tag"] == "closed"
    assert document["checks"][0]["opens"].startswith("manifestd tag m:staging sha256:")
    assert run(["tag", "--delete", TAG, "--reason", "gone"]) == 0
    code, document = gate(capsys, "m")
    assert code == 1
    assert "was deleted" in document["checks"][0]["what"]


def test_what_the_release_left_out_is_left_out_of_the_copy_and_said(
    team: Team, capsys: Capture
) -> None:
    assert run(["-q", "snapshot", "dir", "m", "--ignore", "weights/*"]) == 0
    team.configure(rules="")
    assert run(["tag", "m:nocard", "m"]) == 0
    shutil.copytree("m", "copy")
    Path("copy/weights/part.bin").write_text("other")
    code, document = gate(capsys, "copy", tag="m:nocard")
    assert code == 0
    assert "weights/* left out" in document["checks"][1]["what"]


def test_nothing_is_kept_where_that_is_asked(team: Team, capsys: Capture) -> None:
    with open_store(team.path) as store:
        before = store.log.size
    assert gate(capsys, "m", "--no-keep")[0] == 0
    with open_store(team.path) as store:
        assert store.log.size == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written_is_judged_by_a_copy(team: Team, capsys: Capture) -> None:
    team.path.chmod(0o444)
    team.path.parent.chmod(0o555)
    try:
        assert gate(capsys, "m")[0] == 0
    finally:
        team.path.parent.chmod(0o755)


def test_a_tampered_store_opens_nothing(team: Team, capsys: Capture) -> None:
    connection = sqlite3.connect(team.path)
    with connection:
        connection.execute("UPDATE blob SET data = zeroblob(length(data)) WHERE kind = 'statement'")
    connection.close()
    code, document = gate(capsys, TAG)
    assert (code, document["code"]) == (4, "store-tampered")


def test_without_a_store_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    assert gate(capsys, "m")[1]["code"] == "not-stored"
    assert run(["approve", "--status", "m:x", "m"]) == 3
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_people_read_what_is_wrong_and_what_would_open_it(team: Team, capsys: Capture) -> None:
    shutil.copytree("m", "copy")
    Path("copy/\x1b[2J.txt").write_text("x")
    assert run(["-q", "gate", TAG, "copy"]) == 1
    text = capsys.readouterr().out
    assert text.startswith(f"CLOSED  {TAG}  copy\n")
    assert "1 file is not one that the tag names" in text
    assert "opens with:" in text
    assert "\x1b" not in text
    assert run(["gate", TAG, "m"]) == 0
    assert capsys.readouterr().out.startswith("OPEN  ")
    assert run(["-q", "gate", TAG, "m"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments",
    [["nocolon", "m"], [TAG, "m@{2020-01-01}", "--no-keep"], [TAG, TAG, "--read", "all"],
     [TAG, "m", "--valid-for", "forever"]],
)  # fmt: skip
def test_wrong_usage_is_said(team: Team, capsys: Capture, arguments: list[str]) -> None:
    assert run(["gate", *arguments]) == 2


def test_of_several_reasons_the_worst_gives_the_exit_code() -> None:
    def check(state: Any) -> GateCheck:
        return GateCheck(name="bytes", state=state, what="x")

    assert exit_code_of([check("ok")]) == 0
    assert exit_code_of([check("ok"), check("unknown")]) == 3
    assert exit_code_of([check("unknown"), check("closed")]) == 1
    assert exit_code_of([check("closed"), check("invalid"), check("unknown")]) == 4
