"""Digests are checked where they enter; only strong ones stand for content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.errors import MalformedError
from manifestd.model import digest

ZEROS = "0" * 64


def test_a_digest_is_an_algorithm_and_lower_case_hex() -> None:
    assert digest.parse_digest(f"sha256:{ZEROS}") == digest.of_hex(ZEROS)
    assert digest.hex_of(digest.of_hex(ZEROS)) == ZEROS


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", ZEROS, f"sha256:{ZEROS}0", f"sha256:{ZEROS[:-1]}", f"SHA256:{ZEROS}",
     f"sha256:{'A' * 64}", f"sha256:{ZEROS}\n", f" sha256:{ZEROS}", f"sha512:{ZEROS * 2}",
     "sha256:" + "\uff10" * 64],
)  # fmt: skip
def test_what_is_not_a_digest_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        digest.parse_digest(text)


@pytest.mark.parametrize(("algorithm", "length"), digest.HEX_LENGTH.items())
def test_a_value_has_the_length_of_its_algorithm(algorithm: str, length: int) -> None:
    assert digest.check_value(algorithm, "a" * length) == "a" * length
    for wrong in ("a" * (length - 1), "a" * (length + 1), "A" * length, "g" * length, ""):
        with pytest.raises(MalformedError, match=algorithm):
            digest.check_value(algorithm, wrong)


def test_a_git_sha1_is_not_taken_for_a_sha256() -> None:
    with pytest.raises(MalformedError) as caught:
        digest.check_value("sha256", "a" * 40)
    assert caught.value.why == "expected 64 hex digits, got 40 characters"


def test_an_algorithm_nobody_knows_yet_is_accepted_as_hex_only() -> None:
    assert digest.check_value("crc128", "00ff") == "00ff"
    with pytest.raises(MalformedError):
        digest.check_value("crc128", "base64==")


def test_no_checksum_is_strong() -> None:
    weak = {"md5", "sha1", "sha1-git", "crc32", "crc32c", "crc64nvme", "xet",
            "xxhash64", "xxhash3", "xxhash128", "md5-composite"}  # fmt: skip
    assert not digest.STRONG & weak


@given(st.text())
def test_shortening_is_for_screens_and_never_fails(text: str) -> None:
    assert len(digest.short(text)) <= 12
    assert digest.short(f"sha256:{ZEROS}") == "0" * 12
