"""Across an air gap: what was approved on one machine is verified, compared and gated on another.

The other machine has the public keys, the rules, and no network.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd.cli.main import run
from manifestd.config import load_config
from manifestd.errors import UsageError
from manifestd.model.approval import Revocation, revocation_statement
from manifestd.model.digest import Digest
from manifestd.model.logentry import time_text
from manifestd.signing.dsse import sign_statement
from manifestd.signing.trust import Trust, load_trust
from manifestd.store import Store
from manifestd.store.check import check_store
from manifestd.workflows.bundle import import_bundle
from manifestd.workflows.bundle_statements import Terms, bring_statements
from manifestd.workflows.bundle_write import export_bundle, statements_about
from manifestd.workflows.gate import judge_gate
from manifestd.workflows.gate_bundle import bundled_candidate
from manifestd.workflows.opened import opened
from manifestd.workflows.proofs import verify_log
from manifestd.workflows.revoking import revoke_approval
from manifestd.workflows.verify_bundle import verify_opened
from tests.support.schemas import check_document
from tests.workflows.release_world import START, TAG, TRUST, Team, configuration, day

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def team(tmp_path: Path, keys: Path) -> Team:
    (tmp_path / "here").mkdir()
    return Team(tmp_path / "here", keys)


def release(team: Team, store: Store, text: str = "{}") -> Digest:
    """A snapshot that three people approved and that was tagged."""
    digest = team.snapshot(store, text)
    for by in ("alice", "bob", "carol"):
        team.approve(store, by, digest)
    team.tag(store, digest)
    return digest


def export(team: Team, store: Store, *digests: str, by: str | None = "ci") -> Path:
    path = team.folder / f"{len(list(team.folder.iterdir()))}.bundle"
    signer = team.signer(by) if by else None
    export_bundle(store, digests, path, config=team.config, signer=signer, trust=team.trust)
    return path


def there(team: Team, tmp_path: Path, name: str = "there", **configured: Any) -> Team:
    """The other machine: the configuration and the public keys, and nothing else."""
    folder = tmp_path / name
    public = folder / "public"
    public.mkdir(parents=True)
    for key in TRUST:
        shutil.copy(team.folder / "keys" / f"{key}.pem.pub", public)
    text = configuration(**configured).replace('[signing]\nkey = "keys/ci.pem"\n', "")
    (folder / "manifestd.toml").write_text(text.replace('"keys/', '"public/'))
    other = Team.__new__(Team)
    other.folder, other.path = folder, folder / "snapshots" / "manifestd.db"
    other.config = load_config(folder / "manifestd.toml", {})
    other.trust = load_trust(other.config)
    return other


def gate(other: Team, bundle: Path, *, at: Any = START, tag: str = TAG) -> dict[str, str]:
    rules = other.config.tags
    with bundled_candidate(other.path, bundle, str(bundle), other.trust, at, rules=rules) as found:
        store, candidate = found
        report = judge_gate(store, other.desk(at), tag, candidate)
    return {check.name: check.state for check in report.checks}


def brought(team: Team, bundle: Path, *, at: Any = START) -> list[tuple[str, str]]:
    with team.open() as store:
        found = import_bundle(
            store, bundle, trust=team.trust, rules=team.config.tags, now=at, inspect=True
        )
    return [(item.kind, item.state) for item in found.statements]


def test_a_bundle_carries_approvals_revocations_and_the_tags_that_name_it(team: Team) -> None:
    with team.open() as store:
        digest = release(team, store)
        other = team.snapshot(store, '{"b": 1}')
        team.approve(store, "alice", other, tag="m:other")
        [given] = [a for a in team.status(store, digest).approvals if a.person == "bob"]
        revoke_approval(store, team.desk(day(1), by="bob"), given.approval, "no")
        kinds = [entry.kind for entry in store.log.entries() if entry.kind != "signature"]
        assert kinds.count("approval") == 4
        assert len(statements_about(store, [digest])) == 5
        assert len(statements_about(store, [other])) == 1


def test_the_gate_opens_for_a_bundle_where_there_is_no_store(team: Team, tmp_path: Path) -> None:
    with team.open() as store:
        bundle = export(team, store, release(team, store))
    other = there(team, tmp_path)
    assert set(gate(other, bundle).values()) == {"ok"}
    assert not other.path.exists()


@pytest.mark.parametrize("place", [0, 5, 900, -1])
def test_a_changed_byte_closes_the_gate_wherever_it_is(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, place: int
) -> None:
    with team.open() as store:
        bundle = export(team, store, release(team, store))
    other = there(team, tmp_path)
    monkeypatch.chdir(other.folder)
    damaged = bytearray(bundle.read_bytes())
    damaged[place] ^= 1
    Path("m.bundle").write_bytes(damaged)
    for name in ("m.bundle", "./m.bundle"):
        assert run(["gate", TAG, name]) == 4
        error = capsys.readouterr().err
        assert "m.bundle" in error
        assert "hint: copy the" in error


def test_the_gate_is_closed_without_the_approvals_and_after_they_ran_out(
    team: Team, tmp_path: Path
) -> None:
    with team.open() as store:
        digest = team.snapshot(store, "{}")
        team.approve(store, "alice", digest)
        team.configure(rules="")
        team.tag(store, digest)
        bundle = export(team, store, digest)
    other = there(team, tmp_path)
    assert gate(other, bundle)["approvals"] == "closed"
    with team.open() as store:
        for by in ("bob", "carol"):
            team.approve(store, by, digest)
        bundle = export(team, store, digest)
    assert gate(other, bundle)["approvals"] == "ok"
    assert gate(other, bundle, at=START + timedelta(days=91))["approvals"] == "closed"


def test_a_revocation_travels_and_closes(team: Team, tmp_path: Path) -> None:
    with team.open() as store:
        digest = release(team, store)
        [given] = [a for a in team.status(store, digest).approvals if a.person == "bob"]
        revoke_approval(store, team.desk(day(1), by="bob"), given.approval, "no")
        bundle = export(team, store, digest)
    assert gate(there(team, tmp_path), bundle, at=day(1))["approvals"] == "closed"


def test_statements_of_keys_that_do_not_count_here_are_refused_and_told(
    team: Team, tmp_path: Path
) -> None:
    with team.open() as store:
        bundle = export(team, store, release(team, store))
    other = there(team, tmp_path, without="carol")
    assert gate(other, bundle)["approvals"] == "closed"
    assert brought(other, bundle) == [
        ("approval", "taken"), ("approval", "taken"), ("approval", "refused"), ("tag", "taken"),
    ]  # fmt: skip
    # Once carol is trusted, the same bundle brings the rest.
    later = there(team, tmp_path, "later")
    other.trust, other.config = later.trust, later.config
    assert [state for _, state in brought(other, bundle)] == ["known", "known", "taken", "known"]
    assert check_store(other.path) == []
    with other.open(write=False) as store:
        assert verify_log(store, other.trust).verified


def test_an_import_moves_a_tag_only_from_where_it_stands(team: Team, tmp_path: Path) -> None:
    other = there(team, tmp_path)
    with team.open() as store:
        first = export(team, store, release(team, store))
        second = export(team, store, release(team, store, '{"v": 2}'))
        third = export(team, store, release(team, store, '{"v": 3}'))
    assert brought(other, first)[-1] == ("tag", "taken")
    assert brought(other, third)[-1] == ("tag", "refused")
    assert brought(other, second)[-1] == ("tag", "taken")
    assert brought(other, third)[-1] == ("tag", "taken")
    # An older bundle brings nothing back.
    assert brought(other, first)[-1] == ("tag", "known")
    assert set(gate(other, third).values()) == {"ok"}
    assert gate(other, first)["bytes"] == "closed"
    assert check_store(other.path) == []


def test_what_is_immutable_here_is_not_moved_by_a_bundle(team: Team, tmp_path: Path) -> None:
    other = there(team, tmp_path, rules='[[tags]]\npattern = "*:v*"\nimmutable = true\n')
    team.configure(rules="")
    bundles = []
    with team.open() as store:
        for text in ("{}", '{"v": 2}'):
            digest = team.snapshot(store, text)
            team.tag(store, digest, tag="m:v1")
            bundles.append(export(team, store, digest))
    assert brought(other, bundles[0]) == [("tag", "taken")]
    assert brought(other, bundles[1]) == [("tag", "refused")]
    assert brought(other, bundles[0]) == [("tag", "known")]
    assert gate(other, bundles[0], tag="m:v1")["bytes"] == "ok"
    assert gate(other, bundles[1], tag="m:v1")["bytes"] == "closed"


def test_a_bundle_without_a_tag_it_is_gated_for_stays_closed(team: Team, tmp_path: Path) -> None:
    with team.open() as store:
        bundle = export(team, store, release(team, store))
    assert gate(there(team, tmp_path), bundle, tag="m:other")["tag"] == "closed"


def test_the_proof_in_a_bundle_is_verified(team: Team, tmp_path: Path) -> None:
    with team.open() as store:
        digest = release(team, store)
        proved, plain = export(team, store, digest), export(team, store, digest, by=None)
        strange = export(team, store, digest, by="stranger")
    other = there(team, tmp_path)

    def verified(bundle: Path, trust: Trust) -> Any:
        with opened(other.path, [str(bundle)], every=True) as found:
            [result] = verify_opened(found, trust)
        return result

    result = verified(proved, other.trust)
    assert (result.exit_code, result.proof.state, result.proof.signed_by) == (0, "verified", ["ci"])
    assert verified(plain, other.trust).proof is None
    # Proved by somebody unknown is not proved, and not wrong either.
    result = verified(strange, other.trust)
    assert (result.exit_code, result.proof.state) == (0, "untrusted")


def test_the_proof_of_another_snapshot_is_wrong(team: Team, tmp_path: Path) -> None:
    with team.open() as store:
        one, two = release(team, store), team.snapshot(store, '{"b": 1}')
        bundle = export(team, store, one, two)
    other = there(team, tmp_path)
    with opened(other.path, [str(bundle)], every=True) as found:
        swapped = {one: found.proofs[two], two: found.proofs[one]}
        results = verify_opened(msgspec.structs.replace(found, proofs=swapped), other.trust)
    assert [result.exit_code for result in results] == [4, 4]
    assert [result.proof.state for result in results if result.proof] == ["invalid", "invalid"]


def test_an_existing_file_is_not_overwritten(team: Team) -> None:
    with team.open() as store:
        digest = release(team, store)
        path = export(team, store, digest)
        with pytest.raises(UsageError, match="exists"):
            export_bundle(store, [digest], path, config=team.config, signer=None, trust=team.trust)
        assert not list(team.folder.glob("*.part"))


def _unshared() -> list[str]:
    unshare = shutil.which("unshare")
    if unshare and subprocess.run([unshare, "-rn", "true"], check=False).returncode == 0:
        return [unshare, "-rn"]
    return []


UNSHARED = _unshared()


@pytest.mark.skipif(not UNSHARED, reason="unshare -rn is not permitted here")
def test_everything_works_by_command_on_a_machine_without_network(
    team: Team, tmp_path: Path
) -> None:
    with team.open() as store:
        old = release(team, store)
        new = release(team, store, '{"v": 2}')
        bundles = [export(team, store, old), export(team, store, new)]
    other = there(team, tmp_path)
    for number, bundle in enumerate(bundles):
        shutil.copy(bundle, other.folder / f"{number}.bundle")

    def command(*arguments: str) -> tuple[int, Any]:
        done = subprocess.run(
            [*UNSHARED, sys.executable, "-m", "manifestd", "-q", *arguments, "--format", "json"],
            cwd=other.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout)

    code, document = command("verify", "0.bundle", "1.bundle")
    assert (code, len(document["snapshots"])) == (0, 2)
    check_document("verify", document)
    code, document = command("diff", "0.bundle", "1.bundle")
    assert (code, document["counts"]["different"]) == (1, 1)
    assert document["left"]["signature"] == "verified"
    # Approvals of this world are of the past; what matters here is that all is judged.
    code, document = command("gate", TAG, "1.bundle")
    assert {check["name"] for check in document["checks"]} >= {"tag", "bytes", "approvals"}
    assert document["snapshot"] == new
    assert [c["state"] for c in document["checks"] if c["name"] in {"tag", "bytes"}] == ["ok", "ok"]
    assert command("show", "1.bundle")[1]["snapshot"] == new
    assert len(command("files", "0.bundle")[1]["files"]) == 2
    code, document = command("import", "0.bundle")
    assert code == 0
    check_document("import", document)
    assert document["new"] == 1
    flipped = bytearray(bundles[0].read_bytes())
    flipped[len(flipped) // 2] ^= 4
    (other.folder / "0.bundle").write_bytes(flipped)
    for arguments in (("verify",), ("diff", "1.bundle"), ("gate", TAG), ("import",), ("show",)):
        assert command(*arguments, "0.bundle")[0] == 4, arguments


def test_a_receipt_is_not_written_for_a_bundle(
    team: Team, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with team.open() as store:
        bundle = export(team, store, release(team, store))
    monkeypatch.chdir(team.folder)
    assert run(["gate", TAG, str(bundle), "--receipt", "r.json"]) == 2
    assert "not about a bundle" in capsys.readouterr().err


def test_a_stranger_cannot_bring_statements_of_others(team: Team, tmp_path: Path) -> None:
    """Approvals and revocations are by whose key signed them, whatever they say."""
    with team.open() as store:
        digest = release(team, store)
        forged = team.signed(store, "bob", digest, tag="m:x")
        [given] = [a for a in team.status(store, digest).approvals if a.person == "alice"]
    statement = revocation_statement(
        Revocation(
            revokes=given.approval, tag=TAG, at=time_text(START), by="alice", key_id="0" * 64,
            reason="no", tool="test",
        )
    )  # fmt: skip
    with team.open() as store:
        terms = Terms(trust=team.trust, now=START)
        for by in ("stranger", "nina", "bob"):
            [found] = bring_statements(store, terms, [sign_statement(statement, team.signer(by))])
            assert found.state == "refused", by
        [found] = bring_statements(store, terms, [sign_statement(statement, team.signer("alice"))])
        assert found.state == "taken"
        [found] = bring_statements(store, terms, [forged])
        assert found.state == "taken"
