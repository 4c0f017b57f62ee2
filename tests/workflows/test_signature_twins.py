"""Of an ECDSA signature anybody can make a second one that is as right: no statement counts again by it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from manifestd import canonical
from manifestd.errors import MalformedError, TamperedError
from manifestd.model.approval import Revocation, revocation_statement
from manifestd.model.digest import of_hex
from manifestd.model.envelope import digests_of
from manifestd.model.logentry import time_text
from manifestd.signing.dsse import sign_statement, verify_bundle
from manifestd.signing.file import FileSigner, new_key
from manifestd.signing.public import read_public_key
from manifestd.store import Store
from manifestd.store.check import check_store
from manifestd.workflows.approval_log import log_revocation
from manifestd.workflows.approving import add_approval
from manifestd.workflows.bundle_statements import Terms, bring_statements
from manifestd.workflows.bundle_write import statements_about
from tests.workflows.release_world import TAG, Team, day

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}


def twin(bundle: bytes) -> bytes:
    """The same statement under the other signature, made without a key."""
    document = json.loads(bundle)
    [signature] = document["dsseEnvelope"]["signatures"]
    first, second = decode_dss_signature(base64.b64decode(signature["sig"]))
    signature["sig"] = base64.b64encode(encode_dss_signature(first, ORDER - second)).decode()
    return canonical.encode(document)


@pytest.fixture
def team(tmp_path: Path, keys: Path) -> Team:
    return Team(tmp_path, keys)


def take_back(team: Team, store: Store, approval: str) -> None:
    """A revocation by who approved."""
    signer = team.signer("bob")
    key = read_public_key(signer.public_pem()).key_id
    claim = Revocation(
        revokes=approval, tag=TAG, at=time_text(day(0)), by="bob", key_id=key, reason="no", tool="t"
    )
    bundle = sign_statement(revocation_statement(claim), signer)
    log_revocation(store, bundle, claim, "bob", day(0))


def bundled(signature: bytes) -> bytes:
    packed = base64.b64encode(signature).decode()
    return canonical.encode({"dsseEnvelope": {"signatures": [{"sig": packed}]}})


@pytest.mark.parametrize("curve", CURVES)
def test_both_signatures_of_each_curve_are_known_as_one(curve: str) -> None:
    key = ec.generate_private_key(CURVES[curve])
    order = key.curve.group_order
    for number in range(20):
        data = str(number).encode()
        right = key.sign(data, ec.ECDSA(hashes.SHA256()))
        first, second = decode_dss_signature(right)
        other = encode_dss_signature(first, order - second)
        key.public_key().verify(other, data, ec.ECDSA(hashes.SHA256()))
        name = of_hex(canonical.sha256_hex(bundled(other)))
        found = digests_of(bundled(right))
        assert found[0] != name
        assert name in found


def test_signatures_of_other_kinds_have_one_digest_and_no_bundle_has_none(tmp_path: Path) -> None:
    new_key(tmp_path / "k.pem", algorithm="ed25519")
    signature = FileSigner(str(tmp_path / "k.pem")).sign(b"data")
    for packed in (signature, b"", b"\x30", b"\x30\x81", b"\x30\x06\x02\x01\x01\x02\x02\x00\x01"):
        assert len(digests_of(bundled(packed))) == 1
    for data in (b"{}", b"[]", b'{"dsseEnvelope":{"signatures":[]}}', b"nothing"):
        with pytest.raises(MalformedError):
            digests_of(data)


def test_an_approval_that_was_taken_back_stays_so_under_the_other_signature(team: Team) -> None:
    with team.open() as store:
        digest = team.snapshot(store, "{}")
        for by in ("alice", "carol"):
            team.approve(store, by, digest)
        bundle = team.signed(store, "bob", digest)
        given = add_approval(store, team.desk(), bundle).approval
        assert team.status(store, digest).holds
        take_back(team, store, given)
        other = twin(bundle)
        verify_bundle(other, team.trust.public_keys())
        assert add_approval(store, team.desk(day(1)), other).action == "unchanged"
        terms = Terms(trust=team.trust, now=day(1))
        [brought] = bring_statements(store, terms, [other])
        assert brought.state == "known"
        assert not team.status(store, digest, at=day(1)).holds


def test_a_revocation_is_about_the_approval_under_whichever_signature_it_comes(
    team: Team, tmp_path: Path, keys: Path
) -> None:
    with team.open() as store:
        digest = team.snapshot(store, "{}")
        bundle = team.signed(store, "bob", digest)
        given = add_approval(store, team.desk(), bundle).approval
        take_back(team, store, given)
        [_, revocation] = statements_about(store, [digest])
    # Elsewhere the revocation is known, the approval is not.
    (tmp_path / "there").mkdir()
    other = Team(tmp_path / "there", keys)
    with other.open() as store:
        assert other.snapshot(store, "{}") == digest
        terms = Terms(trust=other.trust, now=day(0))
        states = [item.state for item in bring_statements(store, terms, [revocation, twin(bundle)])]
        assert states == ["taken", "taken"]
        [found] = other.status(store, digest).approvals
        assert not found.counts
        assert revocation in statements_about(store, [digest])


def test_an_old_move_of_a_tag_cannot_be_made_again_under_the_other_signature(team: Team) -> None:
    team.configure(rules="")
    with team.open() as store:
        good, bad = team.snapshot(store, "{}"), team.snapshot(store, '{"v": 2}')
        for number, digest in enumerate((good, bad, good)):
            team.tag(store, digest, at=day(number))
        move = list(store.tags.history(TAG))[1].bundle
        with pytest.raises(MalformedError, match="made before"):
            store.tags.move(twin(move), day(3))
        [brought] = bring_statements(store, Terms(trust=team.trust, now=day(3)), [twin(move)])
        assert brought.state == "known"
        # Slipped into the store's file, with a log that is right in itself.
        store.blobs.put_as(twin(move), "statement")
        document = of_hex(canonical.sha256_hex(twin(move)))
        facts = {"tag": TAG, "snapshot": bad, "from": good}
        store.log.append("tag", document, day(3), {**facts, "manifest": None, "by": "ci"})
        with pytest.raises(TamperedError, match="logged twice"):
            store.tags.target(TAG)
    assert any("a second time" in problem.what for problem in check_store(team.path))
