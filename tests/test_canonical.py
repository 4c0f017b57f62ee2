"""Our encoder writes RFC 8785 bytes, and our decoder reads nothing else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd import canonical
from manifestd.errors import MalformedError, NotCanonicalError

NAMES = st.text(st.characters(max_codepoint=127), max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=30,
)


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two members, written out of order on purpose."""

    b: int
    a: str


@given(DOCUMENTS)
def test_bytes_equal_those_of_an_rfc_8785_library(document: Any) -> None:
    assert canonical.encode(document) == rfc8785.dumps(document)


@given(DOCUMENTS)
def test_a_document_survives_a_round_trip(document: Any) -> None:
    assert canonical.decode(canonical.encode(document), object) == document


@given(DOCUMENTS, st.booleans())
def test_any_other_spelling_is_refused(document: Any, ascii_only: bool) -> None:
    right = canonical.encode(document)
    spelt = json.dumps(document, indent=1, ensure_ascii=ascii_only).encode()
    if spelt == right:
        return
    with pytest.raises(NotCanonicalError):
        canonical.decode(spelt, object)


@settings(max_examples=300)
@given(DOCUMENTS, st.data())
def test_one_changed_byte_is_another_document_or_refused(
    document: Any, data: st.DataObject
) -> None:
    right = canonical.encode(document)
    at = data.draw(st.integers(0, len(right) - 1))
    # Within ASCII: bytes that are not UTF-8 are the vectors' business.
    spoilt = right[:at] + bytes([data.draw(st.integers(0, 127))]) + right[at + 1 :]
    try:
        spoilt.decode()
        found = canonical.decode(spoilt, object)
    except (MalformedError, NotCanonicalError, UnicodeDecodeError):
        return
    assert spoilt == right or found != document


def test_struct_members_are_sorted_by_their_written_names() -> None:
    assert canonical.encode(Pair(1, "x")) == b'{"a":"x","b":1}'
    assert canonical.decode(b'{"a":"x","b":1}', Pair) == Pair(1, "x")


def test_a_document_is_addressed_by_the_sha256_of_its_bytes() -> None:
    assert canonical.digest_of({"a": 1}) == ("sha256:" + hashlib.sha256(b'{"a":1}').hexdigest())
    assert canonical.sha256_hex(b"") == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("value", ["\ud800", "a\udc80b"], ids=["high", "low"])
def test_a_lone_surrogate_has_no_canonical_form(value: str) -> None:
    with pytest.raises(NotCanonicalError, match="lone surrogate"):
        canonical.encode([value])


@pytest.mark.parametrize(
    "data",
    [b'{"b":1,"a":"x"}', b'{"a":"x", "b":1}', b'{"a":"x","b":1}\n', b'{"a":"x","a":"x","b":1}',
     b'{"a":"x","b":1.0}', b'{"a":"x","b":1e0}', b'{"a":"\\u0078","b":1}', b'{"a":"x","b":-0}',
     b'{"a":"x","b":9007199254740992}', b'{"a":"x","b":-9007199254740992}',
     '{"a":"x","b":1,"é":1}'.encode()],
)  # fmt: skip
def test_what_is_not_canonical_says_so(data: bytes) -> None:
    with pytest.raises(NotCanonicalError, match="pair"):
        canonical.decode(data, Pair, name="pair")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"a":"x"}', b'{"a":1,"b":1}', b'{"a":"x","b":true}', b'{"a":"x","b":null}',
     b'{"a":"x","b":1,"c":1}', b'\xef\xbb\xbf{"a":"x","b":1}', b'{"a":"x","b":01}', b"NaN"],
)  # fmt: skip
def test_what_is_not_the_document_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError, match="pair"):
        canonical.decode(data, Pair, name="pair")


def test_the_largest_integers_pass() -> None:
    for number in (canonical.MAX_INTEGER, -canonical.MAX_INTEGER):
        assert canonical.decode(b"%d" % number, int) == number


def test_size_is_judged_before_parsing() -> None:
    canonical.decode(b'"aa"', str, max_size=4)
    with pytest.raises(MalformedError, match="too large: 5 bytes, at most 4"):
        canonical.decode(b'"aaa"', str, max_size=4)
    with pytest.raises(MalformedError, match="too large"):
        canonical.decode_foreign(b'"aaa"', max_size=4)


@pytest.mark.parametrize(
    "text",
    [b'["' + b"[" * 100 + b'"]', b'["\\"' + b"[" * 100 + b'"]', b'["\\\\","' + b"{" * 100 + b'"]'],
)
def test_brackets_inside_strings_are_no_depth(text: bytes) -> None:
    assert isinstance(canonical.decode_foreign(text), list)


@pytest.mark.parametrize(
    "text", [b'"' + b'\\"' * 4_000_000, b"[" * 70 + b'"' * 8_000_001, b"[" * 70 + b"\\" * 8_000_001]
)
def test_unfinished_strings_are_refused(text: bytes) -> None:
    # Where every quotation mark began a search to the end, this took hours.
    with pytest.raises(MalformedError):
        canonical.decode_foreign(text)


def test_depth_of_64_passes_and_65_does_not() -> None:
    for depth, opened, closed in ((64, b"[", b"]"), (64, b'{"a":', b"}")):
        inner = b"" if opened == b"[" else b"1"
        assert canonical.decode(opened * depth + inner + closed * depth, object)
        with pytest.raises(MalformedError, match="deeper than 64"):
            canonical.decode(opened * (depth + 1) + inner + closed * (depth + 1), object)


def test_brackets_inside_text_are_not_nesting() -> None:
    text = "[" * 200 + '\\"{' * 100
    assert canonical.decode(canonical.encode([text]), object) == [text]


def test_ten_million_brackets_are_refused() -> None:
    with pytest.raises(MalformedError, match="deeper"):
        canonical.decode(b"[" * 10_000_000, object)


def test_foreign_json_may_be_spelt_freely_but_not_ambiguously() -> None:
    assert canonical.decode_foreign(b' {"b": 1.5,\n"a": "\\u00e9"} ') == {"b": 1.5, "a": "é"}
    assert canonical.decode_foreign('{"é": 1e3}'.encode()) == {"é": 1000.0}


@pytest.mark.parametrize(
    "text",
    [
        r'{"a":[1,1.5,null,true,"\u00e9"],"b":{}}',
        "[18446744073709551616,-9223372036854775809]",
        "[1.0,1e21,0.1,-0.0]",
        r'"\ud83d\ude00"',
        '"é"',
        "[]",
    ],
)
def test_foreign_json_means_the_same_canonical_or_not(text: str) -> None:
    found = canonical.decode_foreign(text.encode())
    spaced = canonical.decode_foreign(b" " + text.encode())
    assert repr(found) == repr(spaced) == repr(json.loads(text))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":1}', "the name 'a' stands twice"),
        (b'[{"x":{"a":1,"b":2,"a":3}}]', "the name 'a' stands twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"{", "not acceptable JSON"),
        (b'"\xff"', "not acceptable JSON"),
        (b"[" * 100, "deeper than 64"),
        (b"1" * 5000, "not acceptable JSON"),
    ],
)
def test_foreign_json_that_is_ambiguous_or_hostile_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        canonical.decode_foreign(data)


def test_names_equal_only_by_escapes_are_one_name_in_foreign_json() -> None:
    with pytest.raises(MalformedError, match="stands twice"):
        canonical.decode_foreign(b'{"a":1,"\\u0061":2}')


RACE = textwrap.dedent("""
    import sys, threading, types
    import msgspec
    from manifestd.canonical import prepared
    sys.setswitchinterval(1e-6)
    INNER = "class I{0}(msgspec.Struct):\\n a: 'int | None' = None\\n b: 'list[str]' = []\\n"
    OUTER = "class T(msgspec.Struct):\\n" + "".join(f" i{n}: 'I{n} | None' = None\\n" for n in range(6))
    for number in range(100):
        module = types.ModuleType(f"m{number}")
        module.msgspec = msgspec
        sys.modules[module.__name__] = module
        exec("".join(map(INNER.format, range(6))) + OUTER, module.__dict__)
        together = threading.Barrier(8)
        def decode():
            together.wait()
            for _ in range(20):
                msgspec.json.decode(b'{"i5":{"a":1},"i0":null}', type=prepared(module.T))
        threads = [threading.Thread(target=decode) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
""")


def test_threads_may_decode_into_a_type_that_none_has_decoded_into_before() -> None:
    assert subprocess.run([sys.executable, "-c", RACE], check=False).returncode == 0
