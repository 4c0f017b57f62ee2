from __future__ import annotations

import difflib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.formats import reader_for
from manifestd.formats.templates import moved_templates
from manifestd.rules import linediff
from tests.contracts.format_suite import FormatSuite
from tests.formats.support import told

TEMPLATE = "{% for m in messages %}\n{{ m }}\n{% endfor %}\n"


class TestTextContract(FormatSuite):
    name = "text"
    path = "chat_template.jinja"

    def good(self) -> bytes:
        return TEMPLATE.encode()

    def damaged(self) -> list[bytes]:
        return [b"\xff\xfe", b"", b"\x00"]


@pytest.mark.parametrize(
    ("other", "hint"),
    [
        (TEMPLATE.replace("\n", "\r\n"), "only the line ends differ: LF left, CRLF right"),
        (TEMPLATE.rstrip("\n"), "only the final newline differs: one left, none right"),
        (TEMPLATE + "\n", "only the final newline differs: one left, 2 right"),
        (TEMPLATE.replace("\n{{", "  \n{{"), "only trailing white space differs"),
        ("\ufeff" + TEMPLATE, "only byte order mark differs"),
    ],
)
def test_invisible_changes_of_a_template_are_different_with_a_hint(other: str, hint: str) -> None:
    found = told("chat_template.jinja", TEMPLATE, other)
    assert not found.equivalent
    assert found.summary == hint


def test_nfc_and_nfd_are_different_and_named() -> None:
    found = told("vocab.txt", "é\n", "e\u0301\n")
    assert not found.equivalent
    assert found.summary == "only Unicode normalization differs"


def test_changed_lines_are_shown_with_their_numbers() -> None:
    found = told("modeling.py", "a\nb\nc\nd\n", "a\nB\nc\nd\ne\n")
    assert [(c.at, c.left, c.right) for c in found.changes][:1] == [("line 2", "b", "B")]
    assert found.changes[1].at == "line 5"
    assert found.changes[1].what == "1 line added"


def test_a_rewritten_huge_text_is_summarised() -> None:
    dice = random.Random(1)
    left = "\n".join(dice.choice("ab") for _ in range(100_000))
    right = "\n".join(dice.choice("ab") for _ in range(100_000))
    found = told("notes.txt", left, right)  # difflib alone takes minutes
    assert len(found.changes) == 1


def test_texts_made_to_be_slow_are_not() -> None:
    left = "\n".join("ab"[i % 2] for i in range(3900))
    right = "\n".join("ba"[(i // 3) % 2] for i in range(3900))
    found = told("notes.txt", left, right)  # difflib alone takes minutes
    assert found.changes


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from("abcd"), max_size=20), st.lists(st.sampled_from("abcd"), max_size=20)
)
def test_hunks_turn_left_into_right_and_are_as_few_as_difflib_finds(
    left: list[str], right: list[str]
) -> None:
    found = linediff.hunks(left, right)
    assert found is not None
    rebuilt: list[str] = []
    position = 0
    for hunk in found:
        rebuilt += left[position : hunk.a] + right[hunk.c : hunk.d]
        position = hunk.b
    assert rebuilt + left[position:] == right
    edits = sum(h.b - h.a + h.d - h.c for h in found)
    blocks = difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    assert edits <= len(left) + len(right) - 2 * sum(block.size for block in blocks)


def test_a_template_that_moved_to_its_own_file_is_recognised() -> None:
    left = {"tokenizer_config.json": b'{"chat_template": "hello\\n"}'}
    right = {"tokenizer_config.json": b"{}", "chat_template.jinja": b"hello\n"}
    assert [one.told() for one in moved_templates(left, right)] == [
        "chat template 'default' is unchanged: tokenizer_config.json left, chat_template.jinja right"
    ]
    assert moved_templates(left, {"chat_template.jinja": b"hello"}) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("README.md", "card"),
        ("docs/notes.md", "text"),
        ("LICENSE", "text"),
        ("USE_POLICY.md", "text"),
        ("pytorch_model.bin", "torchzip"),
        ("model.safetensors.index.json", "shardindex"),
        ("onnx/model.onnx", "named"),
        ("tf_model.h5", "named"),
        ("saved_model.pb", "named"),
        ("tokenizer.model", "named"),
        ("a.GGUF", "gguf"),
        ("picture.png", None),
        (".gitattributes", "text"),
        *(
            (name, "text")
            for name in (
                ".env",
                "prod.env",
                ".env.local",
                "a/.netrc",
                ".npmrc",
                "id_rsa",
                "server.pem",
                "a.conf",
            )
        ),
    ],
)
def test_files_go_to_the_reader_of_their_name(path: str, name: str | None) -> None:
    reader = reader_for(path, 1)
    assert (reader.name if reader else None) == name
