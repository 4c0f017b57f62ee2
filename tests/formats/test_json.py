from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.formats import jsontext
from manifestd.formats.bounds import RefusedError
from manifestd.rules.lexemes import Leaf
from tests.contracts.format_suite import FormatSuite
from tests.formats.support import explain, facts_of, told

CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "n_ctx": 1024,
    "layer_norm_epsilon": 1e-05,
    "x": None,
}


class TestJsonContract(FormatSuite):
    name = "json"
    path = "config.json"

    def good(self) -> bytes:
        return json.dumps(CONFIG, indent=2).encode()

    def damaged(self) -> list[bytes]:
        return [
            b"",
            b"{",
            b'{"a":1,"a":2}',
            b"\xef\xbb\xbf{}",
            b"[NaN]",
            b'"\\ud800"',
            b"\xff",
            b"-0",
        ]

    def really_equal(self, left: bytes, right: bytes) -> None:
        assert json.loads(left) == json.loads(right)


def test_reindented_and_reordered_configuration_is_equivalent() -> None:
    other = json.dumps(dict(reversed(CONFIG.items())), indent=4, sort_keys=False)
    assert told("config.json", json.dumps(CONFIG), other).equivalent


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1e-05", "0.00001"),
        ("1E-5", "0.000010"),
        ("10.0e3", "10000.0"),
        ("0.0", "0e7"),
        ('"\\u00e9"', '"é"'),
        ('"\\ud83d\\ude00"', '"😀"'),
        ('"a\\/b"', '"a/b"'),
    ],
)
def test_spellings_that_no_reader_tells_apart_are_equivalent(left: str, right: str) -> None:
    assert told("config.json", f'{{"v": {left}}}', f'{{"v":{right}}}').equivalent


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1", "1.0"),
        ("0.0", "-0.0"),
        ("1", "true"),
        ("0", "false"),
        ("null", '""'),
        ("1", '"1"'),
        ("1000000000000000019884624838656", "1000000000000000019884624838657"),
        ("9007199254740993", "9007199254740992"),
        ("1e30", "1000000000000000000000000000000"),
        ("0.1", "0.1000000000000000055511151231257827"),
        ("[1,2]", "[2,1]"),
        ('"\\u00e9"', '"e\\u0301"'),
        ("[]", "{}"),
        ("[[]]", "[]"),
    ],
)
def test_values_that_some_reader_tells_apart_are_different(left: str, right: str) -> None:
    found = told("config.json", f'{{"v": {left}}}', f'{{"v": {right}}}')
    assert not found.equivalent
    assert found.changes[0].at == "/v"


def test_null_is_not_absent_and_a_default_is_not_absent() -> None:
    for value in ("null", "false", "0", '""'):
        found = told("config.json", f'{{"a": 1, "v": {value}}}', '{"a": 1}')
        assert not found.equivalent
        assert found.changes[0].at == "/v"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a":1,"a":1}', "twice"),
        ('{"a":{"b":1,"\\u0062":2}}', "twice"),
        ("\ufeff{}", "byte order mark"),
        ('{"a":"\\ud83d"}', "surrogate"),
        ('{"\\udc00":1}', "surrogate"),
        ("1" * 5000, "digits"),
        ("0." + "1" * 5000, "digits"),
        ("1e99999999", "exponent"),
        ("-0", "-0"),
        ("[" * 201 + "]" * 201, "nested"),
        ('{"a":"tab\there"}', "not JSON"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("", "not JSON"),
        ("{} {}", "not JSON"),
    ],
)
def test_what_readers_disagree_about_is_bytes_only_with_the_reason(text: str, why: str) -> None:
    found = told("config.json", text, text + " ")
    assert not found.equivalent
    assert why in str(found.summary)
    assert why in str((facts_of("config.json", text.encode()) or {})["refused"])


def test_numbers_are_shown_without_rounding() -> None:
    found = told(
        "config.json", '{"a": 9007199254740993, "b": 0.5, "c": 1e400}', '{"a": 1, "b": 2, "c": 3}'
    )
    shown = {change.at: change.left for change in found.changes}
    assert shown == {"/a": "9007199254740993", "/b": 0.5, "/c": "1e400"}


@pytest.mark.parametrize(
    ("left", "right"), [("9007199254740993", "9007199254740992"), ("1e400", "1e401")]
)
def test_numbers_that_are_shown_as_text_are_said_to_be_numbers(left: str, right: str) -> None:
    found = told("config.json", f'{{"a": {left}}}', f'{{"a": {right}}}')
    assert (found.changes[0].left, found.changes[0].right) == (left, right)
    assert found.changes[0].what == "numbers, told as text so that no digit is lost"
    assert told("config.json", '{"a": "1"}', '{"a": "2"}').changes[0].what is None
    assert told("config.json", '{"a": 1.5}', '{"a": 2.5}').changes[0].what is None


def test_a_setting_that_lets_loaders_run_code_is_told_as_such() -> None:
    facts = facts_of("config.json", b'{"trust_remote_code": true, "auto_map": {"A": "m.B"}}') or {}
    assert [finding["what"] for finding in facts["findings"]] == [
        "auto_map names code that trust_remote_code would run: m.B",
        "trust_remote_code is set: loaders that heed it run code of the repository",
    ]


def test_pointers_escape_slash_and_tilde() -> None:
    found = told("config.json", '{"a/b": {"c~d": 1}}', '{"a/b": {"c~d": 2}}')
    assert found.changes[0].at == "/a~1b/c~0d"


def test_a_number_that_changed_its_type_says_so() -> None:
    found = told("config.json", '{"a": 1}', '{"a": 1.0}')
    assert found.changes[0].what == "number type changed: integer to real"


def test_long_values_and_arrays_are_cut() -> None:
    left = json.dumps({"text": "x" * 5000, "list": list(range(5000))})
    right = json.dumps({"text": "y" * 5000, "list": []})
    found = told("config.json", left, right)
    assert all(len(str(change.left)) < 300 for change in found.changes)
    assert found.changes[1].what == "5000 items removed at index 0"


def test_changes_are_bounded_and_say_how_many_were_left_out() -> None:
    left = {f"k{i}": i for i in range(1000)}
    found = told("config.json", json.dumps(left), json.dumps({k: -v - 1 for k, v in left.items()}))
    assert len(found.changes) == 200
    assert found.more >= 1


def test_one_changed_element_of_a_long_array_is_named_by_its_index() -> None:
    left = list(range(1000))
    right = [*left[:700], -1, *left[701:]]
    found = told("config.json", json.dumps({"a": left}), json.dumps({"a": right}))
    assert [(c.at, c.left, c.right) for c in found.changes] == [("/a/700", 700, -1)]


def test_reordered_names_are_said_to_be_reordered() -> None:
    found = told("config.json", '{"architectures": ["A", "B"]}', '{"architectures": ["B", "A"]}')
    assert "another order" in str(found.changes[0].what)


def test_a_template_inside_json_is_compared_line_by_line() -> None:
    left = {"chat_template": "{% if a %}\nhello\n{% endif %}\n", "eos_token": "</s>"}
    right = {**left, "chat_template": "{% if a %}\nbye\n{% endif %}\n"}
    found = told("tokenizer_config.json", json.dumps(left), json.dumps(right))
    change = found.changes[0]
    assert (change.at, change.left, change.right) == ("/chat_template line 2", "hello", "bye")


def test_crlf_inside_a_template_string_is_different_and_named() -> None:
    left = json.dumps({"chat_template": "a\nb\n"})
    found = told("tokenizer_config.json", left, json.dumps({"chat_template": "a\r\nb\r\n"}))
    assert not found.equivalent
    assert "line ends" in str(found.changes[0].what)


def test_code_that_a_configuration_names_is_a_finding() -> None:
    body = {"auto_map": {"AutoModel": "modeling_x.XModel"}, "model_type": "x"}
    facts = facts_of("config.json", json.dumps(body).encode())
    assert facts is not None
    (finding,) = facts["findings"]
    assert finding["impact"] == "security"
    assert "modeling_x.XModel" in finding["what"]


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_TREES = st.recursive(
    _SCALARS | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """A value in which Python's equality tells apart what json.loads gives apart."""
    if isinstance(value, dict):
        return ("dict", frozenset((key, typed(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(map(typed, value)))
    return (type(value).__name__, repr(value))


def plain(tree: Any) -> Any:
    """Our tree with reals as doubles, as json.loads gives them."""
    if isinstance(tree, dict):
        return {key: plain(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [plain(item) for item in tree]
    return float(tree.text) if isinstance(tree, Leaf) else tree


@settings(max_examples=300, deadline=None)
@given(_TREES, _TREES, st.booleans(), st.sampled_from([None, 1, 4]))
def test_equivalent_files_are_loaded_alike_by_the_real_library(
    left: Any, right: Any, ascii_only: bool, indent: int | None
) -> None:
    one = json.dumps(left).encode()
    two = json.dumps(right, ensure_ascii=ascii_only, indent=indent).encode()
    found = explain("config.json", one, two)
    if found is not None and found.equivalent:
        assert typed(json.loads(one)) == typed(json.loads(two))


@settings(max_examples=200, deadline=None)
@given(_TREES)
def test_the_same_tree_written_otherwise_is_equivalent(tree: Any) -> None:
    one, two = json.dumps(tree), json.dumps(tree, ensure_ascii=False, indent=3, sort_keys=True)
    assert told("config.json", one, two).equivalent


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet='0123456789.eE+-"[]{},:atrufl\\ ', max_size=12))
def test_whatever_is_parsed_is_what_the_real_library_loads(text: str) -> None:
    try:
        tree = jsontext.parse(text.encode())
    except RefusedError:
        return
    assert typed(plain(tree)) == typed(json.loads(text))


@settings(max_examples=300, deadline=None)
@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,4})\.[0-9]{1,6}([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"-?(0|[1-9][0-9]{0,4})\.[0-9]{1,6}([eE][+-]?[0-9]{1,2})?", fullmatch=True),
)
def test_reals_called_equal_are_the_same_double(left: str, right: str) -> None:
    found = told("config.json", f"[{left}]", f"[{right}]")
    if found.equivalent:
        assert repr(float(left)) == repr(float(right))
    padded = told("config.json", f"[{left}]", f"[{left.lower().replace('e', '00e')}]")
    assert padded.equivalent
