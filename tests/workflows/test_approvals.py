"""Approvals: bound to bytes, tag, policy and person; counted by people; never more than was given."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd import canonical
from manifestd.errors import (
    MalformedError,
    ManifestdError,
    NotApprovedError,
    NotCanonicalError,
    NotStoredError,
    SignatureError,
    TamperedError,
    UndecidedError,
    UntrustedError,
    UsageError,
)
from manifestd.model.approval import (
    APPROVED,
    approval_statement,
    read_approval_statement,
    read_revocation_statement,
    revocation_statement,
)
from manifestd.model.approvals import read_request
from manifestd.model.entry import Problem
from manifestd.signing.dsse import open_bundle, sign_statement, verify_bundle
from manifestd.store import Store
from manifestd.store.check import check_store
from manifestd.store.rows import payload_of
from manifestd.workflows.approvals import revocations
from manifestd.workflows.approving import (
    add_approval,
    make_request,
    sign_request,
)
from manifestd.workflows.revoking import revoke_approval
from tests.support.schemas import check_document
from tests.workflows.release_world import RULE, START, TAG, Team, day


def test_a_quorum_of_people_and_groups_holds_and_the_tag_moves(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        for by in ("alice", "bob"):
            assert not team.approve(store, by, one).status.holds
            with pytest.raises(NotApprovedError):
                team.tag(store, one)
        done = team.approve(store, "carol", one)
        assert done.status.holds
        assert done.status.holds_until == "2026-05-30T12:00:00.000000Z"
        team.tag(store, one)
        assert store.snapshots.resolve(TAG) == one
    assert check_store(team.path) == []


def test_an_approval_is_a_verification_result_that_others_can_read(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        bundle = team.signed(store, "alice", one, reason="looked at it")
        status = team.status(store, one)
    payload = verify_bundle(bundle, team.trust.public_keys()).payload
    check_document("bundle", bundle)
    check_document("statement", payload)
    statement = json.loads(payload)
    assert statement["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    assert {s["name"]: s["digest"]["sha256"] for s in statement["subject"]} == {
        "manifest": status.manifest[7:],
        "snapshot": one[7:],
    }
    predicate = statement["predicate"]
    assert predicate["properties"] == [APPROVED]
    assert predicate["timeCreated"] == "2026-03-01T12:00:00.000000Z"
    assert predicate["verifier"]["policies"] == [
        {"name": "policy", "digest": {"sha256": status.policy[7:]}}
    ]
    bound = predicate["https://manifestd.dev/predicate/approval/v1"]
    assert (bound["tag"], bound["approver"], bound["reason"]) == (TAG, "alice", "looked at it")


def test_one_person_with_two_keys_does_not_fill_a_quorum_of_two(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        for by in ("alice", "alice2", "carol"):
            team.approve(store, by, one)
        status = team.status(store, one)
        assert all(approval.counts for approval in status.approvals)
        assert not status.holds
        with pytest.raises(NotApprovedError, match=r"1 more of ml \(could be: bob\)"):
            team.tag(store, one)


def test_the_author_does_not_count_where_that_is_asked(tmp_path: Path, keys: Path) -> None:
    rule = (
        '[[tags]]\npattern = "*:production"\napprovals = [{ count = 1 }]\nexclude_author = true\n'
    )
    team = Team(tmp_path, keys, rules=rule)
    with team.open() as store:
        one = team.snapshot(store, "{}", by="bob")
        status = team.approve(store, "bob", one).status
        assert status.authors == ["bob"]
        assert not status.holds
        assert status.needs[0].excluded == ["bob"]
        [approval] = status.approvals
        assert (approval.counts, "bob signed the snapshot" in (approval.why or "")) == (False, True)
        assert status.missing() == ["1 more (could be: alice, carol)"]
        assert team.approve(store, "alice", one).status.holds


def test_an_unknown_author_cannot_be_excluded_so_the_rule_does_not_hold(
    tmp_path: Path, keys: Path
) -> None:
    rule = (
        '[[tags]]\npattern = "*:production"\napprovals = [{ count = 1 }]\nexclude_author = true\n'
    )
    team = Team(tmp_path, keys, rules=rule)
    with team.open() as store:
        one = team.snapshot(store, "{}", by=None)
        status = team.approve(store, "alice", one).status
        assert not status.holds
        assert "signed by nobody" in status.missing()[0]
        with pytest.raises(NotApprovedError) as caught:
            team.tag(store, one)
        assert "take the snapshot again, signed" in (caught.value.hint or "")


def test_an_approval_for_other_bytes_another_tag_or_another_policy_does_not_count(
    team: Team,
) -> None:
    with team.open() as store:
        one, two = team.snapshot(store, "{}"), team.snapshot(store, "[]")
        team.approve(store, "alice", two)
        team.approve(store, "bob", one, tag="m:staging")
        team.approve(store, "carol", one)
        status = team.status(store, one)
        assert [need.have for need in status.needs] == [[], ["carol"]]
        [other, mine] = status.approvals
        assert "other bytes" in (other.why or "")
        assert mine.counts
        team.configure(policy='[policy]\nlicenses = ["mit"]\n')
        status = team.status(store, one)
        assert [need.have for need in status.needs] == [[], []]
        assert "another policy" in (status.approvals[1].why or "")


def test_the_same_bytes_from_another_place_are_approved_too(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        copy = team.snapshot(store, "{}", source="s3://models/m/")
        for by in ("alice", "bob", "carol"):
            team.approve(store, by, one)
        assert one != copy
        assert team.status(store, copy).holds


def test_an_approval_that_ran_out_closes_what_it_opened(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        for by in ("alice", "carol"):
            team.approve(store, by, one)
        team.approve(store, "bob", one, valid_for=timedelta(days=7))
        assert team.status(store, one, at=day(7)).holds
        status = team.status(store, one, at=day(7.1))
        assert not status.holds
        assert status.missing() == ["1 more of ml (could be: bob)"]
        assert "expired at 2026-03-08" in (status.approvals[2].why or "")
        assert team.approve(store, "bob", one, at=day(8)).status.holds


@pytest.mark.parametrize("by", ["bob", "carol"])
def test_a_revoked_approval_closes_it_and_a_new_one_opens_it_again(team: Team, by: str) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        first = team.approve(store, "bob", one)
        for other in ("alice", "carol"):
            team.approve(store, other, one)
        desk = team.desk(day(1), by=by)
        done = revoke_approval(store, desk, first.approval[7:17], "a flaw")
        check_document("approval-result", msgspec.json.encode(done))
        assert (done.action, done.by, done.status.holds) == ("revoked", by, False)
        assert done.status.approvals[0].why == f"revoked by {by} (a flaw)"
        again = revoke_approval(store, desk, first.approval, "a flaw")
        assert (again.action, again.entry) == ("unchanged", None)
        assert team.approve(store, "bob", one, at=day(2)).status.holds
    assert check_store(team.path) == []


def test_whoever_may_not_approve_cannot_revoke(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        done = team.approve(store, "alice", one)
        size = store.log.size
        for by in ("ci", "nina", "stranger"):
            with pytest.raises(UntrustedError):
                revoke_approval(store, team.desk(by=by), done.approval, "no")
        with pytest.raises(UsageError, match="no key"):
            revoke_approval(store, team.desk(), done.approval, "no")
        with pytest.raises(UsageError, match="say why"):
            revoke_approval(store, team.desk(by="bob"), done.approval, "")
        with pytest.raises(NotStoredError):
            revoke_approval(store, team.desk(by="bob"), "0" * 64, "no")
        for text in ("xyz", done.approval[7:12], done.approval + "0"):
            with pytest.raises(UsageError, match="not the digest"):
                revoke_approval(store, team.desk(by="bob"), text, "no")
        assert store.log.size == size


def test_a_revocation_outlives_the_trust_in_who_revoked(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        done = team.approve(store, "alice", one)
        revoke_approval(store, team.desk(by="bob"), done.approval, "a flaw")
        team.configure(without="bob")
        assert not team.status(store, one).approvals[0].counts


def test_who_left_keeps_what_they_approved_and_who_is_not_trusted_loses_it(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        for by in ("alice", "bob", "carol"):
            team.approve(store, by, one)
        team.configure(more={"bob": "until = 2026-03-05"})
        assert team.status(store, one, at=day(20)).holds
        with pytest.raises(UntrustedError):
            team.approve(store, "bob", one, at=day(20))
        team.configure(without="bob")
        status = team.status(store, one, at=day(20))
        assert not status.holds
        assert "not trusted" in (status.approvals[1].why or "")


def test_no_rule_demands_nothing(tmp_path: Path, keys: Path) -> None:
    team = Team(tmp_path, keys, rules="")
    with team.open() as store:
        status = team.status(store, team.snapshot(store, "{}"))
        assert status.holds
        assert not status.required
        assert status.needs == []


# -- the request ------------------------------------------------------------------------------


def test_what_approvers_see_is_what_they_sign(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, '{"a": 1}')
        for by in ("alice", "bob", "carol"):
            team.approve(store, by, one)
        team.tag(store, one)
        two = team.snapshot(store, '{"a": 2}')
        data = make_request(store, team.desk(), TAG, two)
        check_document("approval-request", data)
        request = read_request(data)
        assert request.before == one
        assert request.target.snapshot == two
        assert request.diff is not None
        assert [(file.path, file.verdict) for file in request.diff.files] == [
            ("config.json", "different")
        ]
        assert request.licence.card == ["mit"]
        assert request.policy.passes
        assert [(who.person, len(who.key_ids)) for who in request.approvers] == [
            ("alice", 2), ("bob", 1), ("carol", 1),
        ]  # fmt: skip
        bundle = sign_request(data, team.signer("bob"), now=START, tool="test")
        approval = read_approval_statement(payload_of(bundle))
        assert approval.request == "sha256:" + canonical.sha256_hex(data)
        assert (approval.manifest, approval.policy) == (
            request.target.manifest,
            request.policy.policy,
        )


def change(data: bytes, *path: str, to: Any) -> bytes:
    document = json.loads(data)
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = to
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("target", "manifest"), "sha256:" + "0" * 64),
        (("target", "snapshot"), "sha256:" + "0" * 64),
        (("policy", "policy"), "sha256:" + "0" * 64),
        (("policy", "manifest"), None),
        (("status", "manifest"), "sha256:" + "0" * 64),
        (("status", "tag"), "m:other"),
        (("tag",), "no tag"),
        (("schema",), "manifestd.diff/v1"),
        (("target",), None),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else None,
)
def test_a_request_whose_parts_disagree_is_not_signed(
    team: Team, path: tuple[str, ...], value: Any
) -> None:
    with team.open() as store:
        data = make_request(store, team.desk(), TAG, team.snapshot(store, "{}"))
    with pytest.raises(MalformedError):
        sign_request(change(data, *path, to=value), team.signer("alice"), now=START, tool="test")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema": 1}', b"\xff", b"[" * 100])
def test_other_files_are_not_requests(team: Team, data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(data)


def test_a_key_that_may_not_approve_signs_nothing(team: Team) -> None:
    with team.open() as store:
        data = make_request(store, team.desk(), TAG, team.snapshot(store, "{}"))
    for by in ("stranger", "nina", "ci"):
        with pytest.raises(UntrustedError) as caught:
            sign_request(data, team.signer(by), now=START, tool="test")
        assert "alice, bob, carol" in (caught.value.why or "")


def test_an_old_request_is_not_signed(team: Team) -> None:
    with team.open() as store:
        data = make_request(store, team.desk(), TAG, team.snapshot(store, "{}"))
    with pytest.raises(UndecidedError, match="ran out"):
        sign_request(data, team.signer("alice"), now=day(91), tool="test")


def test_an_incomplete_snapshot_cannot_be_approved(team: Team) -> None:
    with team.open() as store:
        broken = team.snapshot(store, "{}", problems=[Problem(code="unreadable", what="x")])
        with pytest.raises(UsageError, match="incomplete"):
            make_request(store, team.desk(), TAG, broken)


# -- bringing it back -------------------------------------------------------------------------


def test_bringing_an_approval_back_twice_changes_nothing(team: Team) -> None:
    with team.open() as store:
        bundle = team.signed(store, "alice", team.snapshot(store, "{}"))
        first = add_approval(store, team.desk(), bundle)
        again = add_approval(store, team.desk(), bundle)
        check_document("approval-result", msgspec.json.encode(again))
        assert (first.action, again.action, again.entry) == ("approved", "unchanged", None)
        assert len(list(store.log.entries(kinds=["approval"]))) == 1


def forged(team: Team, store: Store, by: str, **changed: Any) -> bytes:
    """An approval that somebody made without our help."""
    bundle = team.signed(store, "alice", store.snapshots.resolve("m"))
    approval = read_approval_statement(payload_of(bundle))
    statement = approval_statement(msgspec.structs.replace(approval, **changed))
    return sign_statement(statement, team.signer(by))


@pytest.mark.parametrize(
    ("by", "changed", "error"),
    [
        ("stranger", {}, UntrustedError),
        ("nina", {"approver": "nina"}, UntrustedError),
        ("bob", {}, UntrustedError),
        ("alice", {"approver": "bob"}, UntrustedError),
        ("alice", {"at": "2026-03-02T12:00:00Z"}, UndecidedError),
        ("alice", {"expires": "2026-02-28T12:00:00Z"}, UndecidedError),
        ("alice", {"snapshot": "sha256:" + "0" * 64}, NotStoredError),
        ("alice", {"manifest": "sha256:" + "0" * 64}, TamperedError),
        ("alice", {"tag": "sha256:prod"}, MalformedError),
        ("alice", {"tag": "no tag"}, MalformedError),
    ],
)  # fmt: skip
def test_a_forged_approval_is_refused_and_not_kept(
    team: Team, by: str, changed: dict[str, Any], error: type[ManifestdError]
) -> None:
    with team.open() as store:
        team.snapshot(store, "{}")
        bundle = forged(team, store, by, **changed)
        size = store.log.size
        with pytest.raises(error):
            add_approval(store, team.desk(), bundle)
        assert store.log.size == size


@pytest.mark.parametrize(
    "tamper",
    [
        lambda bundle: bundle[:-1],
        lambda bundle: bundle.replace(b'"keyid":"', b'"keyid":"0'),
        lambda bundle: bundle.replace(b"{", b"{ ", 1),
        lambda _: b"{}",
    ],
)
def test_a_changed_bundle_is_refused(team: Team, tamper: Callable[[bytes], bytes]) -> None:
    with team.open() as store:
        bundle = team.signed(store, "alice", team.snapshot(store, "{}"))
        with pytest.raises((MalformedError, NotCanonicalError, SignatureError)):
            add_approval(store, team.desk(), tamper(bundle))


def test_a_signature_about_something_else_is_no_approval(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        [bundle] = store.snapshots.bundles(one)
        with pytest.raises(MalformedError, match="not an approval"):
            add_approval(store, team.desk(), bundle)
        team.configure(rules="")
        team.tag(store, one)
        move = store.tags.last_move(TAG)
        assert move is not None
        with pytest.raises(MalformedError, match="not an approval"):
            add_approval(store, team.desk(), move.bundle)


@pytest.mark.parametrize("member", ["at", "expires"])
def test_an_approval_of_no_moment_in_time_is_refused(team: Team, member: str) -> None:
    with team.open() as store:
        bundle = team.signed(store, "alice", team.snapshot(store, "{}"))
        approval = read_approval_statement(open_bundle(bundle).payload)
        never = msgspec.structs.replace(approval, **{member: "2026-02-30T00:00:00Z"})
        signed = sign_statement(approval_statement(never), team.signer("alice"))
        with pytest.raises(MalformedError, match="no moment in time"):
            add_approval(store, team.desk(), signed)


def test_statements_are_read_strictly(team: Team) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        done = team.approve(store, "alice", one)
        revoke_approval(store, team.desk(by="bob"), done.approval, "x")
        approved = open_bundle(store.blobs.get(done.approval)).payload
        [(entry, revocation)] = revocations(store)
        revoked = payload_of(store.blobs.get(entry.document))
    assert approval_statement(read_approval_statement(approved)) == approved
    assert revocation_statement(read_revocation_statement(revoked)) == revoked
    assert revocation.revokes == done.approval
    for payload, reader in (
        (approved, read_approval_statement),
        (revoked, read_revocation_statement),
    ):
        for damage in (
            payload.replace(b'"tag":"m:production"', b'"tag":"m:production","x":1'),
            payload.replace(b"m:production", b"nothing"),
            payload.replace(b'"subject":[', b'"subject":[{"digest":{"sha256":"00"},"name":"x"},'),
            payload.replace(b"Z", b"+00:00", 1),
        ):
            assert damage != payload
            with pytest.raises((MalformedError, NotCanonicalError)):
                reader(damage)
    with pytest.raises(MalformedError):
        read_revocation_statement(approved)
    with pytest.raises(MalformedError):
        read_approval_statement(revoked)


@pytest.mark.parametrize("column", ["tag", "document", "kind"])
def test_an_approval_moved_in_the_index_is_found(team: Team, column: str) -> None:
    with team.open() as store:
        one = team.snapshot(store, "{}")
        team.approve(store, "alice", one, tag="m:staging")
    connection = sqlite3.connect(team.path)
    value: Any = {"tag": TAG, "document": b"\0" * 32, "kind": "verdict"}[column]
    connection.execute(f"UPDATE log SET {column} = ? WHERE kind = 'approval'", (value,))
    connection.commit()
    connection.close()
    assert check_store(team.path)
    if column != "kind":
        with team.open(write=False) as store, pytest.raises(TamperedError):
            team.status(store, one, tag=TAG if column == "tag" else "m:staging")


def test_a_rule_that_is_met_at_the_check_and_not_at_the_move_stops_the_move(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    from manifestd.workflows import tags

    signed = tags._signed
    with team.open() as store:
        one = team.snapshot(store, "{}")
        first = team.approve(store, "bob", one)
        for other in ("alice", "carol"):
            team.approve(store, other, one)

        def while_it_is_signed(*arguments: Any, **options: Any) -> bytes:
            with team.open() as other:
                revoke_approval(other, team.desk(by="bob"), first.approval, "wait")
            return signed(*arguments, **options)

        monkeypatch.setattr(tags, "_signed", while_it_is_signed)
        with pytest.raises(NotApprovedError):
            team.tag(store, one)
        assert store.tags.target(TAG) is None


def test_rules_of_several_patterns_must_all_hold(tmp_path: Path, keys: Path) -> None:
    more = '[[tags]]\npattern = "m:*"\napprovals = [{ count = 4 }]\n'
    team = Team(tmp_path, keys, rules=RULE + more)
    with team.open() as store:
        one = team.snapshot(store, "{}")
        for by in ("alice", "bob", "carol"):
            team.approve(store, by, one)
        status = team.status(store, one)
        assert [need.missing for need in status.needs] == [0, 0, 1]
        assert status.missing() == ["1 more (could be: nobody who is trusted)"]
