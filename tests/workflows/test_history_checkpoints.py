"""A checkpoint that left the machine finds every change; proofs need neither store nor manifestd."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pymerkle
import pytest

from manifestd.cli.main import run
from manifestd.cli.named_file import read_named
from manifestd.errors import (
    MalformedError,
    ManifestdError,
    MismatchError,
    NotStoredError,
    SignatureError,
    TamperedError,
    UntrustedError,
    UsageError,
)
from manifestd.model.note import parse_note, parse_proof
from manifestd.signing.file import FileSigner, new_key
from manifestd.signing.notes import note_key, open_checkpoint, sign_checkpoint
from manifestd.signing.public import read_public_key
from manifestd.signing.trust import Trust
from manifestd.store import open_store
from manifestd.store.rebuild import rebuild_store
from manifestd.workflows.checkpoints import (
    Request,
    cosign,
    format_request,
    make_checkpoint,
    parse_request,
)
from manifestd.workflows.proofs import entry_for, prove, verify_log, verify_proof
from manifestd.workflows.tags import delete_tag
from tests.support.schemas import check_document
from tests.support.tampering import change
from tests.workflows.history_world import Firm, day

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    """Two snapshots, one tag that moved, an entry of every kind that is signed here."""
    firm = Firm(tmp_path)
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2", at=day(1))
        firm.tag(store, "m:prod", one, at=day(2), reason="one")
        firm.tag(store, "m:prod", two, at=day(3), reason="two", by="ed")
        firm.tag(store, "m:old", one, at=day(3))
        delete_tag(store, firm.desk(at=day(4)), "m:old", reason="three")
    return firm


def checkpoint_of(firm: Firm, by: str = "alice", since: bytes | None = None) -> bytes:
    known = since and open_checkpoint(parse_request(since).note, firm.trust.public_keys())
    with firm.open() as store:
        return make_checkpoint(store, firm.config, firm.signer(by), since=known or None)


def problems_of(firm: Firm, checkpoint: bytes | None, *, log_only: bool = False) -> list[str]:
    """What ``log verify`` finds; also when the store cannot even be opened."""
    try:
        with firm.open() as store:
            found = verify_log(store, firm.trust, checkpoint=checkpoint, log_only=log_only)
    except ManifestdError as error:
        return [error.what]
    assert found.verified == (not found.problems)
    return [problem.what for problem in found.problems]


def grow(firm: Firm, number: int = 3) -> None:
    with firm.open(write=True) as store:
        for index in range(number):
            firm.snapshot(store, f"more {index}", at=day(10 + index))


@pytest.mark.parametrize("by", ["alice", "ed"])
def test_a_log_that_only_grew_continues_its_checkpoint(firm: Firm, by: str) -> None:
    kept = checkpoint_of(firm, by)
    assert problems_of(firm, kept) == []
    grow(firm)
    assert problems_of(firm, kept) == []
    with firm.open() as store:
        found = verify_log(store, firm.trust, checkpoint=kept)
        assert found.checkpoint is not None
        assert (found.checkpoint.size, found.checkpoint.signed_by) == (8, [by])
        assert found.size == store.log.size == 14


def test_dropping_the_last_entries_is_found_though_the_store_agrees_with_itself(
    firm: Firm,
) -> None:
    kept = checkpoint_of(firm)
    for number in (1, 2):
        change(
            firm.path,
            "DELETE FROM blob WHERE id = (SELECT blob FROM log ORDER BY id DESC LIMIT 1)",
            "DELETE FROM log WHERE id = (SELECT max(id) FROM log)",
        )
        rebuild_store(firm.path)
        found = problems_of(firm, kept)
        assert f"the log has {8 - number} entries, the checkpoint counted 8" in found[0]
    change(
        firm.path, "DELETE FROM blob WHERE kind = 'statement' AND id > (SELECT max(blob) FROM log)"
    )
    # Nobody who has no checkpoint could tell.
    assert problems_of(firm, None) == []


def test_an_older_copy_put_in_its_place_is_found(firm: Firm, tmp_path: Path) -> None:
    with firm.open(write=True):
        shutil.copy(firm.path, tmp_path / "older.db")
    older = checkpoint_of(firm)
    grow(firm)
    kept = checkpoint_of(firm)
    assert problems_of(firm, kept) == []
    shutil.copy(tmp_path / "older.db", firm.path)
    assert "an older copy of the store" in problems_of(firm, kept)[0]
    assert problems_of(firm, older) == []


def test_a_history_rewritten_whole_is_found(firm: Firm, tmp_path: Path) -> None:
    kept = checkpoint_of(firm)
    firm.path.unlink()
    with firm.open(write=True) as store:
        one, two = firm.snapshot(store, "1"), firm.snapshot(store, "2", at=day(1))
        firm.tag(store, "m:prod", two, at=day(2), reason="one")
        firm.tag(store, "m:prod", one, at=day(3), reason="two")
        firm.tag(store, "m:old", one, at=day(3))
        delete_tag(store, firm.desk(at=day(4)), "m:old", reason="three")
        assert store.log.size == 8
    assert problems_of(firm, None) == []
    [what] = problems_of(firm, kept)
    assert "the first 8 entries of the log are not those of the checkpoint" in what


ROWS = {
    table: [
        f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT {pick}(rowid) FROM {table})"
        for column, value in columns.items()
        for pick in ("min", "max")
    ]
    for table, columns in {
        "snapshot": {
            "digest": "randomblob(32)", "manifest": "randomblob(32)", "name": "'x'",
            "source": "'hf://x/y'", "captured": "captured + 1", "captured_at": "'2020'",
            "complete": "1 - complete", "files": "files + 1", "bytes": "bytes + 1",
        },
        "log": {"blob": "blob - 1", "kind": "'verdict'", "tag": "'m:x'", "document": "randomblob(32)",
                "at": "at + 1"},
        "log_node": {"hash": "randomblob(32)", "level": "level + 9"},
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("statement", [item for items in ROWS.values() for item in items])
def test_a_change_of_any_row_is_found(firm: Firm, statement: str) -> None:
    kept = checkpoint_of(firm)
    change(firm.path, "PRAGMA foreign_keys=OFF", statement)
    assert problems_of(firm, kept)


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "DELETE FROM {} WHERE rowid > 1"])
@pytest.mark.parametrize("table", ["snapshot", "signature", "log", "log_node"])
def test_the_loss_of_rows_is_found(firm: Firm, table: str, statement: str) -> None:
    kept = checkpoint_of(firm)
    change(firm.path, "PRAGMA foreign_keys=OFF", statement.format(table))
    assert problems_of(firm, kept)


def test_a_flipped_bit_in_any_blob_is_found(firm: Firm) -> None:
    kept = checkpoint_of(firm)
    connection = sqlite3.connect(firm.path, isolation_level=None)
    blobs = connection.execute("SELECT id, digest, kind, encoding, size, data FROM blob").fetchall()
    assert {row[2] for row in blobs} >= {
        "record", "leaf", "node", "body", "facts", "bundle", "entry", "statement"
    }  # fmt: skip
    for row in blobs:
        number, _, kind, *_, data = row
        flipped = bytes([*data[:-1], data[-1] ^ 1])
        connection.execute("UPDATE blob SET data = ? WHERE id = ?", (flipped, number))
        assert problems_of(firm, kept), kind
        connection.execute("DELETE FROM blob WHERE id = ?", (number,))
        assert problems_of(firm, kept), kind
        connection.execute(f"INSERT INTO blob VALUES ({', '.join('?' * len(row))})", row)
        assert problems_of(firm, kept) == [], kind
    connection.close()


def test_a_checkpoint_counts_only_with_a_trusted_signature(firm: Firm) -> None:
    kept = checkpoint_of(firm)
    with firm.open() as store:
        foreign = make_checkpoint(store, firm.config, firm.signer("stranger"))
        with pytest.raises(UntrustedError):
            verify_log(store, firm.trust, checkpoint=foreign)
        with pytest.raises(SignatureError):
            verify_log(store, firm.trust, checkpoint=kept.replace(b"\n8\n", b"\n7\n"))
        for text in (b"", b"x", kept[:-1], b"old x\n\n" + kept, kept.replace(b"\n\n", b"\n")):
            with pytest.raises(MalformedError):
                verify_log(store, firm.trust, checkpoint=text)


def test_checkpoints_are_named_by_the_configuration_or_the_key(firm: Firm) -> None:
    note = parse_note(checkpoint_of(firm))
    key = read_public_key(firm.signer().public_pem())
    assert note.text.startswith(f"manifestd/{key.key_id[:16]}\n8\n")
    assert note.signatures[0].name == f"manifestd/{key.key_id[:16]}"
    firm.config = firm.configured('[log]\norigin = "log.example.com/models"')
    note = parse_note(checkpoint_of(firm, "ed"))
    assert note.text.startswith("log.example.com/models\n8\n")
    ed = read_public_key(firm.signer("ed").public_pem())
    assert note.signatures[0].key_id == note_key(ed, "log.example.com/models").key_id


def test_curves_that_other_verifiers_hash_differently_are_refused(
    firm: Firm, tmp_path: Path
) -> None:
    new_key(tmp_path / "p384.pem", algorithm="p384")
    with firm.open() as store, pytest.raises(UsageError, match="p384 key cannot sign checkpoints"):
        make_checkpoint(store, firm.config, FileSigner(str(tmp_path / "p384.pem")))


def test_a_proof_needs_no_store_and_says_what_it_proves(firm: Firm) -> None:
    with firm.open() as store:
        move = entry_for(store, "m:prod")
        snapshot = entry_for(store, store.snapshots.resolve("m:prod"))
        assert (move.kind, snapshot.kind) == ("tag", "snapshot")
        proof = prove(store, firm.config, firm.signer(), firm.trust, index=move.index)
        with pytest.raises(NotStoredError):
            prove(store, firm.config, firm.signer(), firm.trust, index=8)
        with pytest.raises(NotStoredError):
            entry_for(store, "m:nothing")
        with pytest.raises(UsageError, match="no key"):
            prove(store, firm.config, None, firm.trust, index=0)
    found = verify_proof(proof, firm.trust)
    assert found.verified
    assert found.entry == move


def test_a_proof_by_an_older_checkpoint_covers_older_entries_only(firm: Firm) -> None:
    kept = checkpoint_of(firm)
    grow(firm)
    with firm.open() as store:
        proof = prove(store, firm.config, None, firm.trust, index=7, checkpoint=kept)
        with pytest.raises(UsageError, match="entry 8 is newer"):
            prove(store, firm.config, None, firm.trust, index=8, checkpoint=kept)
    assert parse_proof(proof).checkpoint == kept
    assert verify_proof(proof, firm.trust).verified


def test_any_change_to_a_proof_is_refused(firm: Firm) -> None:
    with firm.open() as store:
        proof = prove(store, firm.config, firm.signer(), firm.trust, index=4)
    lines = proof.decode().split("\n")
    extra = base64.b64decode(lines[1].removeprefix("extra "))
    other = base64.b64encode(extra.replace(b'"by":"alice"', b'"by":"malle"')).decode()
    changed = [
        proof.replace(lines[1].encode(), b"extra " + other.encode()),
        proof.replace(b"index 4", b"index 2"),
        proof.replace(lines[3].encode(), base64.b64encode(bytes(32))),
        proof.replace((lines[3] + "\n").encode(), b""),
        proof.replace(lines[1].encode() + b"\n", b""),
    ]
    for text in changed:
        assert text != proof
        with pytest.raises((MismatchError, MalformedError)):
            verify_proof(text, firm.trust)
    with pytest.raises(UntrustedError):
        verify_proof(proof, Trust([]))


def test_a_proof_verifies_with_openssl_and_pymerkle_alone(firm: Firm, tmp_path: Path) -> None:
    """What an outsider does who has the C2SP texts, the public key, and no manifestd."""
    grow(firm, 5)
    with firm.open() as store:
        index = entry_for(store, "m:prod").index
        file = prove(store, firm.config, firm.signer(), firm.trust, index=index)
        size, entries = store.log.size, list(store.log.leaves(store.log.size))
    head, _, note = file.decode().partition("\n\n")
    text, _, signatures = note.rpartition("\n\n")
    name, packed = signatures.removeprefix("— ").split()
    signature = base64.b64decode(packed)
    (tmp_path / "text").write_text(text + "\n")
    (tmp_path / "sig").write_bytes(signature[4:])
    public = firm.folder / "alice.pem.pub"
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", public, "-signature", tmp_path / "sig",
         tmp_path / "text"], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "Verified OK\n"
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert signature[:4] == hashlib.sha256(der).digest()[:4]
    origin, said, root = text.split("\n")
    assert (origin, int(said)) == (name, size)
    lines = head.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    entry = base64.b64decode(lines[1].removeprefix("extra "))
    assert lines[2] == f"index {index}"
    path = [base64.b64decode(line).hex() for line in lines[3:]]
    # pymerkle's proofs begin with the leaf itself and say how to fold.
    peer = pymerkle.InmemoryTree(algorithm="sha256")
    for data in entries:
        peer.append_entry(data)
    theirs = peer.prove_inclusion(index + 1, size).serialize()
    ours = pymerkle.MerkleProof.deserialize(
        {**theirs, "path": [hashlib.sha256(b"\0" + entry).hexdigest(), *path]}
    )
    base = hashlib.sha256(b"\0" + entry).digest()
    pymerkle.verify_inclusion(base, base64.b64decode(root), ours)
    with pytest.raises(pymerkle.InvalidProof):
        pymerkle.verify_inclusion(base, bytes(32), ours)


def test_a_checkpoint_is_read_by_another_parser(firm: Firm) -> None:
    from sigstore._internal.rekor.checkpoint import LogCheckpoint, SignedNote

    note = checkpoint_of(firm).decode()
    assert len(SignedNote.from_text(note).signatures) == 1
    theirs = LogCheckpoint.from_text(note.partition("\n\n")[0] + "\n")
    with firm.open() as store:
        assert theirs.log_size == store.log.size
        assert theirs.log_hash == store.log.root().hex()


def witness(firm: Firm, request: bytes, **options: object) -> bytes:
    return cosign(parse_request(request), firm.trust, firm.signer("ed"), **options)  # type: ignore[arg-type]


def test_a_second_machine_signs_what_continues_what_it_saw(firm: Firm) -> None:
    first = witness(firm, checkpoint_of(firm), first=True)
    grow(firm)
    request = checkpoint_of(firm, since=first)
    assert request.startswith(b"old 8\n")
    second = witness(firm, request, earlier=first)
    opened = open_checkpoint(second, firm.trust.public_keys())
    assert (opened.checkpoint.size, len(opened.keys)) == (14, 2)
    with firm.open() as store:
        found = verify_log(store, firm.trust, checkpoint=second)
        assert found.checkpoint is not None
        assert found.checkpoint.signed_by == ["alice", "ed"]
        proof = prove(store, firm.config, None, firm.trust, index=0, checkpoint=second)
    assert verify_proof(proof, firm.trust).verified
    assert witness(firm, request, earlier=first).count(b"\xe2\x80\x94") == 2


def test_a_second_machine_never_signs_a_rewritten_history(firm: Firm) -> None:
    first = witness(firm, checkpoint_of(firm), first=True)
    grow(firm)
    honest = checkpoint_of(firm, since=first)
    told = open_checkpoint(parse_request(honest).note, firm.trust.public_keys()).checkpoint
    # The holder of store and key makes another history of the same length, and signs it.
    forged = sign_checkpoint(msgspec.structs.replace(told, root=bytes(32)), firm.signer())
    proof = parse_request(honest).proof
    for request in (
        format_request(Request(note=forged, old=8, proof=proof)),
        format_request(Request(note=forged, old=8, proof=())),
    ):
        with pytest.raises(TamperedError):
            witness(firm, request, earlier=first)
    with pytest.raises(UsageError, match="no proof that this checkpoint continues"):
        witness(firm, forged, earlier=first)
    with pytest.raises(UsageError, match="nothing to check"):
        witness(firm, forged)
    with pytest.raises(TamperedError):
        witness(firm, forged, store=firm.open)
    later = witness(firm, honest, earlier=first)
    with pytest.raises(TamperedError, match="has 8 entries, a checkpoint of it has 14"):
        witness(firm, first, earlier=later)


def test_a_second_machine_with_a_copy_of_the_store_needs_no_proof(firm: Firm) -> None:
    first = checkpoint_of(firm)
    grow(firm)
    latest = checkpoint_of(firm)
    for earlier in (None, first):
        signed = witness(firm, latest, store=firm.open, earlier=earlier)
        assert len(open_checkpoint(signed, firm.trust.public_keys()).keys) == 2
    firm.config = firm.configured('[log]\norigin = "other.example"')
    with pytest.raises(UsageError, match="of another log"):
        witness(firm, checkpoint_of(firm), store=firm.open, earlier=first)


def test_a_checkpoint_since_one_that_the_log_does_not_continue_is_not_made(firm: Firm) -> None:
    kept = checkpoint_of(firm)
    firm.path.unlink()
    with firm.open(write=True) as store:
        for number in range(9):
            firm.snapshot(store, str(number))
    with pytest.raises(TamperedError):
        checkpoint_of(firm, since=kept)


@pytest.mark.parametrize(
    "text",
    [b"old 8\nnot base64!\n\nrest", b"old x\n\nrest", b"old 8\n" + b"AA==\n" * 64 + b"\nrest"],
)
def test_a_request_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_request(text)


def test_a_clock_that_was_set_back_is_mentioned(firm: Firm) -> None:
    with firm.open(write=True) as store:
        firm.snapshot(store, "late", at=day(-100))
        found = verify_log(store, firm.trust, checkpoint=None)
    assert found.verified
    [note] = found.problems
    assert (note.severity, note.code) == ("note", "clock-turned-back")


@pytest.fixture
def shell(
    firm: Firm, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(firm.folder)
    (firm.folder / "manifestd.toml").write_text(
        '[store]\npath = "s.db"\n[signing]\nkey = "alice.pem"\n'
        '[[trust]]\nkey = "alice.pem.pub"\nperson = "alice"\nmay = ["snapshot", "tag"]\n'
        '[[trust]]\nkey = "ed.pem.pub"\nperson = "ed"\nmay = ["snapshot", "tag"]\n'
    )

    def command(*arguments: str) -> tuple[int, str, str]:
        return run(list(arguments)), *capsys.readouterr()

    return command


def test_the_commands_make_keep_and_check(shell: Callable[..., tuple[int, str, str]]) -> None:
    assert shell("log", "checkpoint", "-o", "one")[0] == 0
    code, out, _ = shell("log", "verify", "--checkpoint", "one")
    assert (code, out.splitlines()[-1]) == (0, "verified")
    code, out, _ = shell("log", "verify", "--checkpoint", "one", "--format", "json", "--log-only")
    assert code == 0
    check_document("log-verify", out)
    assert "only a kept checkpoint can show more" in shell("log", "verify")[1]
    assert shell("log", "prove", "m:prod", "-o", "p.tlog-proof")[0] == 0
    assert shell("log", "prove", "--entry", "0", "--checkpoint", "one", "-o", "q")[0] == 0
    code, out, _ = shell("--store", "none.db", "log", "verify", "--proof", "p.tlog-proof")
    assert code == 0
    assert "m:prod -> " in out
    check_document("log-verify", shell("log", "verify", "--proof", "q", "--format", "json")[1])
    done = shell("log", "checkpoint", "--cosign", "one", "--key", "ed.pem", "-o", "two")
    assert done[0] == 0
    assert "signed by   alice, ed\n" in shell("log", "verify", "--checkpoint", "two")[1]
    assert shell("log", "checkpoint", "--since", "two")[1].startswith("old 8\n")
    change(Path("s.db"), "UPDATE log SET tag = 'm:else' WHERE id = 5")
    code, out, _ = shell("log", "verify", "--checkpoint", "two")
    assert (code, out.splitlines()[-1]) == (4, "NOT VERIFIED")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["log", "verify", "--checkpoint", "nofile"], 2, "nofile cannot be read"),
        (["log", "verify", "--proof", "alice.pem.pub"], 4, "alice.pem.pub: not a log proof"),
        (["log", "verify", "--checkpoint", "alice.pem.pub"], 4, "alice.pem.pub: the note has no"),
        (["log", "verify", "--checkpoint", "alice.pem.pub"], 4, "made by `manifestd log checkpoi"),
        (["log", "prove"], 2, "give a snapshot or tag"),
        (["log", "prove", "m:prod", "--entry", "1"], 2, "give a snapshot or tag"),
        (["log", "prove", "m:gone"], 3, "nothing in the store"),
        (["log", "--kind", "tags"], 2, "known are snapshot, signature, tag, "),
        (["log", "checkpoint", "--earlier", "x"], 2, "belong to --cosign"),
        (["log", "checkpoint", "--cosign", "x", "--since", "y"], 2, "exclude each other"),
        (["log", "checkpoint", "--key", "stranger.pem", "--since", "x"], 2, "cannot be read"),
        (["--store", "no.db", "log"], 3, "there is no store"),
        (["log", "--as-of", "yesterday"], 2, "not a date"),
        (["log", "--as-of", "2026-03-01", "--limit", "3"], 2, "cannot be combined"),
    ],
)
def test_the_commands_say_what_is_wrong(
    shell: Callable[..., tuple[int, str, str]], arguments: list[str], code: int, says: str
) -> None:
    found, _, err = shell(*arguments)
    assert (found, says in err) == (code, True), err


def test_a_checkpoint_without_a_key_says_what_is_missing(
    shell: Callable[..., tuple[int, str, str]],
) -> None:
    Path("manifestd.toml").write_text('[store]\npath = "s.db"\n')
    code, _, err = shell("log", "checkpoint")
    assert (code, "no key is configured" in err) == (2, True)


def test_a_witness_with_a_store_of_its_own_asks_for_a_proof_and_accuses_nobody(
    shell: Callable[..., tuple[int, str, str]], firm: Firm
) -> None:
    assert shell("log", "checkpoint", "-o", "one")[0] == 0
    with firm.open(write=True) as store:
        firm.snapshot(store, "later")
    assert shell("log", "checkpoint", "-o", "two")[0] == 0
    assert shell("log", "checkpoint", "--since", "one", "-o", "two.request")[0] == 0
    firm.path.rename("theirs.db")
    with firm.open(write=True) as store:
        firm.snapshot(store, "of the witness")
    cosign = ("log", "checkpoint", "--key", "ed.pem", "-o", "signed", "--cosign")
    code, _, err = shell(*cosign, "two", "--earlier", "one")
    assert (code, "ask for `manifestd log checkpoint --since" in err) == (2, True)
    assert shell(*cosign, "two.request", "--earlier", "one")[0] == 0
    code, _, err = shell(*cosign, "two")
    assert (code, "hint: name a copy of that log's store: --store COPY" in err) == (4, True)
    assert shell("--store", "theirs.db", *cosign, "two", "--earlier", "one")[0] == 0


def test_a_checkpoint_of_a_key_that_does_not_count_names_whoever_signed_it(
    shell: Callable[..., tuple[int, str, str]],
) -> None:
    assert shell("log", "checkpoint", "--key", "stranger.pem", "-o", "one")[0] == 0
    code, _, err = shell("log", "verify", "--checkpoint", "one")
    assert code == 4
    assert "Error: one: no trusted key signed the note\nWhy: it is signed as manifestd/" in err
    assert "under [[trust]]" in err


def test_a_file_that_was_named_is_read_one_byte_past_its_bound(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 3_000)
    assert len(read_named(tmp_path / "big", 1_000)) == 1_001


def test_the_log_is_listed_newest_first(shell: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = shell("log", "--format", "json")
    assert code == 0
    check_document("log", out)
    document = json.loads(out)
    assert [item["index"] for item in document["entries"]] == list(range(7, -1, -1))
    assert shell("log", "--tag", "m:none")[1].startswith("No entry is of that kind or about that")
    text = shell("log", "--kind", "tag", "--tag", "m:prod", "--limit", "1")[1]
    assert "m:prod -> " in text
    assert "by ed" in text
    with open_store(Path("s.db")) as store:
        assert document["root"] == f"sha256:{store.log.root().hex()}"
