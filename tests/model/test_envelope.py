"""DSSE: the pre-authentication encoding and both kinds of base64."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope

from manifestd.errors import MalformedError
from manifestd.model.envelope import (
    DsseEnvelope,
    decode_base64,
    pre_authentication_encoding,
)


def test_encoding_is_that_of_the_specification() -> None:
    found = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert found == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary())
def test_encoding_equals_that_of_securesystemslib(kind: str, payload: bytes) -> None:
    peer = Envelope(payload, kind, {})
    # It counts characters of the type where DSSE counts bytes; ours are ASCII.
    if kind.isascii():
        assert pre_authentication_encoding(kind, payload) == peer.pae()


def test_lengths_are_bytes_not_characters() -> None:
    assert pre_authentication_encoding("é", b"") == "DSSEv1 2 é 0 ".encode()


def test_no_two_payloads_share_an_encoding() -> None:
    assert pre_authentication_encoding("a 1 b", b"") != pre_authentication_encoding("a", b"1 b")


@given(st.binary())
def test_standard_and_url_safe_base64_are_both_read(payload: bytes) -> None:
    for encoded in (base64.b64encode(payload), base64.urlsafe_b64encode(payload)):
        envelope = DsseEnvelope(payload=encoded.decode(), payload_type="x", signatures=[])
        assert decode_base64(envelope.payload) == payload


@pytest.mark.parametrize("text", ["a", "ab", "abc", "ab=c", "a b=", "aGk=\n", "aGk", "é===", "*"])
def test_what_is_not_base64_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_base64(text)
