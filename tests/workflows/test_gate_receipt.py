"""Receipts: a server that starts sees without hashing that nothing was written since the gate."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd.cli.main import run
from manifestd.errors import (
    MalformedError,
    ManifestdError,
    SignatureError,
    UndecidedError,
    UntrustedError,
    UsageError,
)
from manifestd.model.receipt import OPEN, Receipt, read_receipt_statement, receipt_statement
from manifestd.signing.dsse import open_bundle, sign_statement, verify_bundle
from manifestd.store import open_store
from manifestd.workflows.receipt import MAX_VALID, check_receipt
from tests.support.s3_server import aws_environment, client, reset
from tests.support.schemas import check_document
from tests.support.trees import write_tree
from tests.workflows.release_world import TAG, Team

Capture = pytest.CaptureFixture[str]
FILES = {"config.json": b"{}", "weights/part.bin": b"w" * 10_000}
HOUR = timedelta(hours=1)


@pytest.fixture
def team(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Team:
    """A released model; its copy passed the gate, with a receipt."""
    monkeypatch.chdir(tmp_path)
    team = Team(tmp_path, keys, rules="")
    write_tree(tmp_path / "m", FILES)
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    assert run(["tag", TAG, "m"]) == 0
    shutil.copytree("m", "copy")
    assert run(["-q", "gate", TAG, "copy", "--receipt", "receipt.json"]) == 0
    capsys.readouterr()
    return team


def check(capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["verify", "--receipt", "receipt.json", *arguments, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    if document["schema"] == "manifestd.receipt-check/v1":
        check_document("receipt-check", document)
        assert document["verified"] == (code == 0)
    return code, document


def receipt(team: Team) -> Receipt:
    bundle = Path("receipt.json").read_bytes()
    return read_receipt_statement(verify_bundle(bundle, team.trust.public_keys()).payload)


def signed(team: Team, by: str, **changed: Any) -> bytes:
    """The receipt with other claims, signed anew."""
    claims = msgspec.structs.replace(receipt(team), **changed)
    return sign_statement(receipt_statement(claims), team.signer(by))


def test_files_that_were_not_touched_verify_without_a_store_and_without_being_read(
    team: Team, capsys: Capture
) -> None:
    shutil.rmtree("snapshots")
    code, document = check(capsys)
    assert code == 0
    assert (document["tag"], document["by"], document["files"]) == (TAG, "ci", 2)
    assert run(["verify", "--receipt", "receipt.json"]) == 0
    assert "2 looked at, none read" in capsys.readouterr().out


def touched(path: Path) -> None:
    path.touch()


def same_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"W" + path.read_bytes()[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    other.replace(path)


@pytest.mark.parametrize("change", [touched, same_size_and_time, replaced])
def test_a_file_that_was_written_is_named_and_refused(
    team: Team, capsys: Capture, change: Callable[[Path], None]
) -> None:
    change(Path("copy/weights/part.bin"))
    code, document = check(capsys)
    assert code == 4
    [problem] = document["problems"]
    assert (problem["path"], problem["what"]) == ("weights/part.bin", "was written")
    assert problem["hint"].startswith(f"verify fully: manifestd gate {TAG} file://")


def test_files_that_came_or_went_are_named(team: Team, capsys: Capture) -> None:
    Path("copy/config.json").unlink()
    Path("copy/evil.py").write_text("import os")
    code, document = check(capsys)
    assert code == 4
    assert {p["path"]: p["what"] for p in document["problems"]} == {
        "config.json": "is gone",
        "evil.py": "is new",
    }


def test_people_are_told_that_the_receipt_does_not_cover_what_is_there_now(
    team: Team, capsys: Capture
) -> None:
    Path("copy/evil.py").write_text("import os")
    capsys.readouterr()
    assert run(["verify", "--receipt", "receipt.json"]) == 4
    shown = capsys.readouterr().out
    assert shown.startswith(f"NOT VERIFIED: the receipt of {TAG} does not cover file://")
    assert "passed" not in shown


def test_a_link_in_place_of_a_file_is_refused(team: Team, capsys: Capture) -> None:
    Path("copy/config.json").rename("aside.json")
    Path("copy/config.json").symlink_to(Path("aside.json").absolute())
    assert check(capsys)[0] == 4


def test_a_directory_may_be_seen_by_another_path_and_no_other_files_pass(
    team: Team, capsys: Capture
) -> None:
    Path("mounted").symlink_to("copy")
    assert check(capsys, "mounted")[0] == 0
    code, found = check(capsys, "m")
    assert code == 4
    hint = f"verify fully: manifestd gate {TAG} {Path('m').absolute().as_uri()}"
    assert {problem["hint"] for problem in found["problems"]} == {hint}
    assert check(capsys, "s3://models/m/")[1]["code"] == "usage"
    assert check(capsys, "nothing-here")[0] == 3


def test_the_receipt_may_lie_among_the_files(team: Team, capsys: Capture) -> None:
    assert run(["-q", "gate", TAG, "copy", "--receipt", "copy/receipt.json"]) == 0
    assert run(["verify", "--receipt", "copy/receipt.json"]) == 0


def test_a_receipt_counts_to_its_end_and_not_longer(team: Team, capsys: Capture) -> None:
    data = Path("receipt.json").read_bytes()
    end = datetime.fromisoformat(receipt(team).expires)
    assert timedelta(hours=23) < end - datetime.now(UTC) < timedelta(hours=25)
    assert check_receipt(data, team.trust, end).verified
    late = check_receipt(data, team.trust, end + timedelta(seconds=1))
    assert not late.verified
    assert late.problems[0].code == "receipt-expired"
    assert run(["-q", "gate", TAG, "copy", "--receipt", "r.json", "--valid-for", "5w"]) == 2
    assert not Path("r.json").exists()


def test_a_receipt_of_the_future_or_for_years_does_not_count(team: Team) -> None:
    now = datetime.now(UTC)
    for at, expires in ((now + HOUR, now + 2 * HOUR), (now, now + MAX_VALID + HOUR)):
        texts = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (at, expires)]
        data = signed(team, "ci", at=texts[0], expires=texts[1])
        assert not check_receipt(data, team.trust, now).verified


def test_only_keys_that_may_gate_issue_receipts(team: Team, capsys: Capture) -> None:
    for by in ("bob", "nina", "stranger"):
        with pytest.raises(UntrustedError):
            check_receipt(signed(team, by), team.trust, datetime.now(UTC))
    assert check_receipt(signed(team, "ci"), team.trust, datetime.now(UTC)).verified
    assert (
        run(["gate", TAG, "m", "--offline", "--receipt", "r.json", "--key", "keys/nina.pem"]) == 4
    )
    assert not Path("r.json").exists()
    team.configure(without="ci")
    assert check(capsys)[1]["code"] == "key-untrusted"


@pytest.mark.parametrize(
    ("tamper", "error"),
    [
        (lambda data: data.replace(b'"sig":"M', b'"sig":"N'), SignatureError),
        (lambda data: data[:-1], MalformedError),
        (lambda _: b"", MalformedError),
    ],
)
def test_a_changed_receipt_is_refused(
    team: Team, tamper: Callable[[bytes], bytes], error: type[ManifestdError]
) -> None:
    data = Path("receipt.json").read_bytes()
    with pytest.raises(error):
        check_receipt(tamper(data), team.trust, datetime.now(UTC))


def test_what_is_no_receipt_is_named(team: Team, capsys: Capture) -> None:
    Path("receipt.json").write_text("{}")
    code, found = check(capsys)
    assert (code, found["what"].partition(": ")[0]) == (4, "receipt.json")
    assert "gate NAME:TAG PLACE --receipt FILE" in found["hint"]


def test_a_receipt_whose_parts_disagree_is_refused(team: Team) -> None:
    payload = open_bundle(Path("receipt.json").read_bytes()).payload
    for damage in (
        payload.replace(b'"verificationResult":"PASSED"', b'"verificationResult":"FAILED"'),
        payload.replace(b'"resourceUri":"file:', b'"resourceUri":"File:'),
        payload.replace(OPEN.encode(), b"OTHER"),
        payload.replace(b"m:production", b"nothing"),
        payload.replace(b"verification_summary/v1", b"verification_summary/v2"),
    ):
        assert damage != payload
        with pytest.raises(MalformedError):
            check_receipt(sign_statement(damage, team.signer("ci")), team.trust, datetime.now(UTC))


def test_a_receipt_is_a_verification_summary_that_names_what_it_rests_on(team: Team) -> None:
    statement = json.loads(open_bundle(Path("receipt.json").read_bytes()).payload)
    check_document("statement", statement)
    predicate = statement["predicate"]
    claims = receipt(team)
    assert statement["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["verifiedLevels"] == [OPEN]
    assert predicate["resourceUri"] == f"file://{team.folder}/copy"
    assert predicate["policy"]["digest"] == {"sha256": claims.policy[7:]}
    assert predicate["timeVerified"] == claims.at
    assert statement["subject"][0]["digest"] == {"sha256": claims.manifest[7:]}
    with open_store(team.path) as store:
        move = store.tags.last_move(TAG)
        assert move is not None
        named = {item["digest"]["sha256"] for item in predicate["inputAttestations"]}
        assert move.entry.document[7:] in named
        assert all(store.blobs.has(f"sha256:{digest}") for digest in named)
        assert len(named) == 3
        [entry] = store.log.entries(kinds=["verdict"])
        assert (entry.tag, entry.fact("verdict")) == (TAG, "gate open")
        assert store.blobs.get(entry.document) == Path("receipt.json").read_bytes()


def test_a_closed_gate_writes_no_receipt(team: Team, capsys: Capture) -> None:
    Path("copy/config.json").write_text("[]")
    assert run(["-q", "gate", TAG, "copy", "--receipt", "r.json"]) == 1
    assert not Path("r.json").exists()


def test_of_many_files_the_fingerprint_alone_is_kept(team: Team, capsys: Capture) -> None:
    for number in range(3000):
        Path(f"m/{number:04}.txt").write_text("x")
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    assert run(["tag", "m:many", "m"]) == 0
    assert run(["-q", "gate", "m:many", "m", "--offline", "--receipt", "receipt.json"]) == 0
    assert receipt(team).known == []
    assert Path("receipt.json").stat().st_size < 10_000
    assert check(capsys)[0] == 0
    Path("m/0007.txt").touch()
    code, document = check(capsys)
    assert code == 4
    assert "written, added or removed" in document["problems"][0]["what"]


def test_objects_in_s3_are_known_again_by_their_etags(
    team: Team, capsys: Capture, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset(moto)
    aws_environment(monkeypatch, moto, team.folder)
    s3 = client(moto)
    s3.create_bucket(Bucket="models")
    for name, data in FILES.items():
        s3.put_object(Bucket="models", Key=f"m/{name}", Body=data)
    assert run(["-q", "gate", TAG, "s3://models/m/", "--receipt", "receipt.json"]) == 0
    assert check(capsys)[0] == 0
    assert check(capsys, "s3://models/other/")[0] == 2
    assert check(capsys, "copy")[0] == 2
    s3.put_object(Bucket="models", Key="m/config.json", Body=b"[]")
    code, document = check(capsys)
    assert (code, document["problems"][0]["path"]) == (4, "config.json")


def test_a_place_that_cannot_be_known_again_gets_no_receipt(tmp_path: Path, keys: Path) -> None:
    from manifestd.workflows.gate import judge_gate
    from manifestd.workflows.gate_place import stored_candidate
    from manifestd.workflows.receipt import write_receipt

    team = Team(tmp_path, keys, rules="")
    with team.open() as store:
        one = team.snapshot(store, "{}")
        team.tag(store, one)
        report = judge_gate(store, team.desk(), TAG, stored_candidate(store, one))
        assert report.open
        with pytest.raises(UndecidedError, match="known again"):
            write_receipt(store, team.desk(by="ci"), report)
        with pytest.raises(UsageError, match="no key"):
            write_receipt(store, team.desk(), report)
