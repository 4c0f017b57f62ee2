"""Approvals in the log: what was cut off, put in or forged is found, and what was said is kept."""

from __future__ import annotations

import shutil
from datetime import timedelta

from manifestd import canonical
from manifestd.model.approval import read_approval_statement
from manifestd.signing.dsse import open_bundle, sign_statement
from manifestd.store.backup import backup_store
from manifestd.store.check import check_store
from manifestd.store.rebuild import rebuild_store
from manifestd.workflows.checkpoints import make_checkpoint
from manifestd.workflows.history import as_of
from manifestd.workflows.ledger import ledger
from manifestd.workflows.proofs import prove, verify_log, verify_proof
from manifestd.workflows.prune import Rule, prune
from manifestd.workflows.revoking import revoke_approval
from tests.workflows.release_world import TAG, Team, day


def test_an_older_copy_in_which_nothing_was_revoked_is_found(team: Team) -> None:
    older = team.folder / "older.db"
    with team.open() as store:
        one = team.snapshot(store, "{}")
        for by in ("alice", "bob", "carol"):
            done = team.approve(store, by, one)
    backup_store(team.path, older)
    with team.open() as store:
        revoke_approval(store, team.desk(day(1), by="bob"), done.approval, "a flaw")
        note = make_checkpoint(store, team.config, team.signer("ci"))
        assert verify_log(store, team.trust, checkpoint=note).verified
        assert not team.status(store, one).holds
    for path in team.path.parent.iterdir():
        path.unlink()
    shutil.copy(older, team.path)
    with team.open(write=False) as store:
        # By itself the copy is sound, and would open the gate.
        assert team.status(store, one).holds
        assert verify_log(store, team.trust).verified
        found = verify_log(store, team.trust, checkpoint=note)
        assert not found.verified


def test_an_approval_put_in_by_somebody_with_the_file_counts_for_nothing_and_is_found(
    team: Team,
) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        done = team.approve(store, "alice", one)
        approval = open_bundle(store.blobs.get(done.approval)).payload
        said = read_approval_statement(approval)
        forged = sign_statement(approval, team.signer("stranger"))
        store.blobs.put_as(forged, "statement")
        store.log.append(
            "approval",
            "sha256:" + canonical.sha256_hex(forged),
            day(0),
            {"tag": TAG, "snapshot": said.snapshot, "manifest": said.manifest, "by": "alice"},
        )
        [mine, other] = team.status(store, one).approvals
        assert mine.counts
        assert "not trusted" in (other.why or "")
        [problem] = verify_log(store, team.trust).problems
        assert "approval" in problem.what
        assert problem.code == "key-untrusted"


def test_an_approval_and_a_revocation_can_be_proved_to_somebody_else(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        done = team.approve(store, "alice", one)
        gone = revoke_approval(store, team.desk(by="bob"), done.approval, "a flaw")
        for entry in (done.entry, gone.entry):
            assert entry is not None
            proof = prove(store, team.config, team.signer("ci"), team.trust, index=entry)
            assert verify_proof(proof, team.trust).verified


def test_the_ledger_and_a_rebuilt_store_know_who_approved(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        for by in ("alice", "bob", "carol"):
            team.approve(store, by, one)
        team.tag(store, one, at=day(1))
    rebuild_store(team.path)
    assert check_store(team.path) == []
    with team.open(write=False) as store:
        assert team.status(store, one).holds
        [release] = ledger(store, team.trust).releases
        assert release.approvers == ["alice", "bob", "carol"]
        assert [item.state.tag for item in as_of(store, team.trust, day(2)).tags] == [TAG]


def test_an_approval_that_had_expired_is_not_told_of_a_release(team: Team) -> None:
    team.configure(rules="")
    with team.open() as store:
        one = team.snapshot(store, "{}")
        team.approve(store, "alice", one)
        team.approve(store, "bob", one, valid_for=timedelta(days=7))
        team.tag(store, one, at=day(8))
        [release] = ledger(store, team.trust).releases
        assert release.approvers == ["alice"]


def test_what_was_approved_is_not_pruned_and_its_request_stays(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        done = team.approve(store, "alice", one)
        team.snapshot(store, "[]", at=day(1))
        pruned = prune(store, team.desk(day(2), by="ci"), Rule(keep=1))
        assert (pruned.removed, pruned.kept) == ([], 1)
        assert store.blobs.has(done.approval)
        assert team.status(store, one).approvals[0].counts
