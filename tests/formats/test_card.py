from __future__ import annotations

import contextlib
from typing import Any

import pytest
import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.format_suite import FormatSuite
from tests.formats.support import explain, facts_of, told

CARD = "---\nlicense: mit\nbase_model: org/a\ntags:\n- x\n- y\n---\n# Title\n\nText.\n"


def load(card: bytes) -> tuple[Any, str]:
    """A card as huggingface_hub reads it."""
    text = card.decode("utf-8-sig")
    found = REGEX_YAML_BLOCK.search(text)
    return (yaml.safe_load(found[2]), text[found.end() :]) if found else (None, text)


class TestCardContract(FormatSuite):
    name = "card"
    path = "README.md"

    def good(self) -> bytes:
        return CARD.encode()

    def damaged(self) -> list[bytes]:
        return [
            b"---\nlicense: mit\nlicense: other\n---\n",
            b"---\na: &x 1\nb: *x\n---\n",
            b"---\na: !!python/object/apply:os.system ['true']\n---\n",
            b"---\n<<: {a: 1}\n---\n",
            b"---\na: [\n---\n",
            b"---\n? [a]\n: 1\n---\n",
            b"\xef\xbb\xbf" + CARD.encode(),
            b"\xff",
        ]

    def really_equal(self, left: bytes, right: bytes) -> None:
        assert load(left) == load(right)


@pytest.mark.parametrize(
    "front",
    [
        "base_model: org/a\nlicense: mit\ntags:\n- x\n- y",
        "license: mit # the licence\nbase_model:   org/a\ntags: [x, y]",
        "license: mit\n\n\nbase_model: org/a\ntags:\n    - x\n    - y",
    ],
)
def test_order_comments_and_indentation_of_front_matter_are_equivalent(front: str) -> None:
    assert told("README.md", CARD, f"---\n{front}\n---\n# Title\n\nText.\n").equivalent


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("no", "false"),
        ("no", "'no'"),
        ("12:30", "750"),
        ("010", "8"),
        ("1.10", "1.1"),
        ("2024-01-01", "'2024-01-01'"),
        ("mit", '"mit"'),
        ("[a, b]", "[b, a]"),
        ("~", "''"),
        ("1e5", "100000.0"),
    ],
)
def test_values_are_never_compared_as_yaml_reads_them(left: str, right: str) -> None:
    one, two = (f"---\nlanguage: {value}\n---\ntext\n" for value in (left, right))
    found = told("README.md", one, two)
    assert not found.equivalent
    assert found.changes[0].at.startswith("/language")


def test_licence_and_base_model_stand_on_their_own_lines_first() -> None:
    right = CARD.replace("mit", "other").replace("org/a", "org/b").replace("- y", "- z")
    found = told("README.md", CARD, right)
    assert [c.at for c in found.changes] == ["/license", "/base_model", "/tags/1"]
    assert found.summary == "license mit to other; base_model org/a to org/b; tags changed"


def test_body_changes_carry_the_line_numbers_of_the_file() -> None:
    found = told("README.md", CARD, CARD.replace("Text.", "Other text."))
    assert [(c.at, c.left, c.right) for c in found.changes] == [("line 10", "Text.", "Other text.")]


def test_line_ends_of_a_card_are_named() -> None:
    found = told("README.md", CARD, CARD.replace("\n", "\r\n"))
    assert not found.equivalent
    assert "line ends" in str(found.summary)


def test_cards_that_cannot_be_read_are_compared_as_text() -> None:
    bad = CARD.replace("license: mit", "license: mit\nlicense: other")
    found = told("README.md", CARD, bad)
    assert not found.equivalent
    assert "the key 'license' stands twice" in str(found.summary)
    assert found.changes


def test_facts_keep_licence_and_base_model() -> None:
    assert facts_of("README.md", CARD.encode()) == {
        "format": "card/1",
        "license": ["mit"],
        "baseModel": ["org/a"],
    }


@pytest.mark.parametrize(
    "front",
    [
        "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]",
        "[" * 100 + "]" * 100,
        "a: " + "[1," * 20 + "]" * 20,
        "\n".join(f"k{i}: [1, 2, 3]" for i in range(20_000)),
        "a: " + "x" * 100_000,
        "%YAML 1.2\n",
        "a: 1\n...\nb: 2",
    ],
)
def test_hostile_front_matter_is_never_equivalent(front: str) -> None:
    card = f"---\n{front}\n---\ntext\n".encode()
    found = explain("README.md", card, card.replace(b"text", b"test"))
    assert found is None or not found.equivalent


_KEYS = st.sampled_from(["license", "a", "b", "1", "no", "'1'", '"a"'])
_VALUES = st.sampled_from(
    ["mit", "'mit'", '"mit"', "no", "12:30", "010", "1e5", "[a, b]", "[b, a]", "{x: 1}", "", "~",
     "|\n  two\n  lines", ">\n  folded\n  text", "- a", "2024-01-01", "1_000", "0x10", "+1", "# x"]
)  # fmt: skip
_FRONTS = st.lists(st.tuples(_KEYS, _VALUES), max_size=4).map(
    lambda pairs: "\n".join(f"{key}: {value}" for key, value in pairs)
)


@settings(max_examples=300, deadline=None)
@given(_FRONTS, _FRONTS)
def test_equivalent_cards_are_loaded_alike_by_the_real_library(left: str, right: str) -> None:
    one, two = (f"---\n{front}\n---\nbody\n".encode() for front in (left, right))
    found = explain("README.md", one, two)
    if found is not None and found.equivalent:
        with contextlib.suppress(yaml.YAMLError):
            assert repr(load(one)) == repr(load(two)) or load(one) == load(two)
