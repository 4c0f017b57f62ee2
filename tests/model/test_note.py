"""Notes, checkpoints and proofs are the bytes that C2SP specifies, and nothing else is one."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from manifestd.errors import MalformedError, SignatureError, UntrustedError
from manifestd.model import note

# The example of the signed-note specification's reference implementation.
VERIFIER = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
KEY = note.NoteKey(
    "example.com/foo", note.ED25519, base64.b64decode(VERIFIER.rpartition("+")[2])[1:]
)
TEXT = "This is an example message.\n"
LINE = (
    "\N{EM DASH} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjO"
    "BH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
EXAMPLE = f"{TEXT}\n{LINE}".encode()

CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def check(key: note.NoteKey, text: bytes, signature: bytes) -> bool:
    """What manifestd.signing does for the product, done with the library alone."""
    try:
        if key.kind == note.ED25519:
            Ed25519PublicKey.from_public_bytes(key.key).verify(signature, text)
        else:
            public = load_der_public_key(key.key)
            assert isinstance(public, ec.EllipticCurvePublicKey)
            public.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def test_the_published_example_verifies() -> None:
    assert str(KEY) == VERIFIER
    assert note.verify_note(EXAMPLE, [KEY], check) == (TEXT, [KEY])


def test_every_changed_byte_of_the_example_is_refused() -> None:
    for at in range(len(EXAMPLE)):
        spoilt = EXAMPLE[:at] + bytes([EXAMPLE[at] ^ 1]) + EXAMPLE[at + 1 :]
        with pytest.raises((MalformedError, SignatureError, UntrustedError)):
            note.verify_note(spoilt, [KEY], check)


def test_an_ecdsa_key_signs_and_its_id_is_the_hash_of_its_spki() -> None:
    private = ec.derive_private_key(7, ec.SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = note.NoteKey("log.example", note.ECDSA, spki)
    signed = note.format_note(
        TEXT,
        [
            note.NoteSignature(
                key.name, key.key_id, private.sign(TEXT.encode(), ec.ECDSA(hashes.SHA256()))
            )
        ],
    )
    assert note.verify_note(signed, [key], check)[1] == [key]


def test_unknown_keys_are_ignored_but_do_not_make_a_note_trusted() -> None:
    ours = Ed25519PrivateKey.from_private_bytes(bytes(32))
    raw = ours.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key = note.NoteKey("ours.example", note.ED25519, raw)
    stranger = note.NoteSignature("witness.example", b"abcd", b"of some unknown kind")
    mine = note.NoteSignature(key.name, key.key_id, ours.sign(TEXT.encode()))
    both = note.format_note(TEXT, [stranger, mine])
    assert note.verify_note(both, [key], check) == (TEXT, [key])
    with pytest.raises(UntrustedError) as caught:
        note.verify_note(note.format_note(TEXT, [stranger]), [key], check)
    assert caught.value.facts == {"signedBy": ["witness.example+61626364"]}


def test_one_wrong_signature_by_a_known_key_rejects_a_note_that_another_signed_well() -> None:
    example = note.parse_note(EXAMPLE).signatures[0]
    wrong = note.NoteSignature(example.name, example.key_id, b"\x00" * 64)
    data = note.format_note(TEXT, [example, wrong])
    with pytest.raises(SignatureError, match=r"example\.com/foo"):
        note.verify_note(data, [KEY], check)


def test_one_key_that_signed_twice_counts_once() -> None:
    example = note.parse_note(EXAMPLE).signatures[0]
    data = note.format_note(TEXT, [example, example])
    assert note.verify_note(data, [KEY], check) == (TEXT, [KEY])


def test_text_and_signatures_part_at_the_last_empty_line() -> None:
    text = "first\n\nsecond\n\u2014 looks like a signature\n"
    parsed = note.parse_note(note.format_note(text, [note.NoteSignature("a", b"1234", b"x")]))
    assert parsed.text == text
    assert len(parsed.signatures) == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(TEXT.encode(), id="no signatures"),
        pytest.param(f"{TEXT}\n".encode(), id="an empty line and nothing below"),
        pytest.param(EXAMPLE[:-1], id="no newline at the end"),
        pytest.param(EXAMPLE + b"\n", id="an empty line at the end"),
        pytest.param(EXAMPLE.replace(b"\n", b"\r\n"), id="carriage returns"),
        pytest.param(EXAMPLE.replace(b"This", b"Thi\x01"), id="a control character"),
        pytest.param(EXAMPLE.replace(b"This", b"Thi\xff"), id="not UTF-8"),
        pytest.param(EXAMPLE.replace("\N{EM DASH}".encode(), b"-"), id="a hyphen for the dash"),
        pytest.param(EXAMPLE.replace(b"/foo Uw", b"/foo  Uw"), id="two spaces"),
        pytest.param(EXAMPLE.replace(b"aQM=", b"aQN="), id="base64 with stray bits"),
        pytest.param(EXAMPLE.replace(b"aQM=", b"aQM"), id="base64 without padding"),
        pytest.param(f"{TEXT}\n\N{EM DASH} a+b aGVsbG8=\n".encode(), id="a plus in the name"),
        pytest.param(f"{TEXT}\n\N{EM DASH} ab aGVsbA==\n".encode(), id="a key id and no signature"),
        pytest.param(f"{TEXT}\n{LINE * 101}".encode(), id="a hundred and one signatures"),
        pytest.param(b"a" * 1_000_001, id="a megabyte"),
    ],
)
def test_what_is_not_a_note_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        note.parse_note(data)


def test_nothing_malformed_can_be_formatted() -> None:
    good = note.NoteSignature("a", b"1234", b"x")
    for text, signatures in (
        ("no newline", [good]),
        ("tab\t\n", [good]),
        (TEXT, []),
        (TEXT, [note.NoteSignature("a b", b"1234", b"x")]),
        (TEXT, [note.NoteSignature("a", b"123", b"x")]),
    ):
        with pytest.raises(MalformedError):
            note.format_note(text, signatures)


def test_the_published_checkpoint_parses_and_formats_to_itself() -> None:
    found = note.parse_checkpoint(CHECKPOINT)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.root.hex().startswith("0ac5186a")
    assert found.text() == CHECKPOINT


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_checkpoints_survive_a_round_trip(size: int, root: bytes) -> None:
    first = note.Checkpoint(origin="log.example/store", size=size, root=root)
    assert note.parse_checkpoint(first.text()) == first


def test_extension_lines_of_others_are_kept() -> None:
    found = note.parse_checkpoint(CHECKPOINT + "one\ntwo\n")
    assert found.extensions == ("one", "two")
    assert found.text() == CHECKPOINT + "one\ntwo\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("a\n1\n", id="two lines"),
        pytest.param(CHECKPOINT[:-1], id="no newline at the end"),
        pytest.param(CHECKPOINT.replace("208", "0208"), id="a leading zero"),
        pytest.param(CHECKPOINT.replace("208", "+208"), id="a sign"),
        pytest.param(CHECKPOINT.replace("208", "\u0662208"), id="digits of another script"),
        pytest.param(CHECKPOINT.replace("q2I=", ""), id="a short root"),
        pytest.param("\n" + CHECKPOINT, id="no origin"),
        pytest.param(CHECKPOINT + "\n", id="an empty extension line"),
    ],
)
def test_what_is_not_a_checkpoint_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        note.parse_checkpoint(text)


@given(
    st.integers(0, 2**62),
    st.lists(st.binary(min_size=32, max_size=32), max_size=64),
    st.none() | st.binary(),
)
def test_proof_files_survive_a_round_trip(
    index: int, path: list[bytes], extra: bytes | None
) -> None:
    first = note.LogProof(index=index, path=tuple(path), checkpoint=EXAMPLE, extra=extra)
    assert note.parse_proof(note.format_proof(first)) == first


def test_a_proof_file_looks_as_the_specification_shows_it() -> None:
    proof = note.LogProof(index=3, path=(b"\x01" * 32,), checkpoint=EXAMPLE, extra=b"hi")
    lines = note.format_proof(proof).decode().split("\n")
    hashed = base64.b64encode(b"\x01" * 32).decode()
    assert lines[:5] == ["c2sp.org/tlog-proof@v1", "extra aGk=", "index 3", hashed, ""]
    assert "\n".join(lines[5:]).encode() == EXAMPLE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 1\n\nx",
        "c2sp.org/tlog-proof@v1\n\nx",
        "c2sp.org/tlog-proof@v1\nindex 01\n\nx",
        "c2sp.org/tlog-proof@v1\nindex -1\n\nx",
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx",
        "c2sp.org/tlog-proof@v1\nindex 1\n" + "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n" * 65,
        "c2sp.org/tlog-proof@v1\nindex 1\n"
        + "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n" * 65
        + "\nx",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\nx",
        "c2sp.org/tlog-proof@v1\nindex 1",
    ],
)
def test_what_is_not_a_proof_file_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        note.parse_proof(text.encode())


def test_an_oversized_proof_file_is_malformed() -> None:
    with pytest.raises(MalformedError, match="too large"):
        note.parse_proof(b"c2sp.org/tlog-proof@v1\n" + b"a" * 1_000_000)
