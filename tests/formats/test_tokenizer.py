from __future__ import annotations

import json
from typing import Any

from msgspec import UNSET

from tests.formats.support import told

VOCAB = {f"t{i}": i for i in range(100)}
MERGES = [f"a{i} b{i}" for i in range(50)]


def tokenizer(**parts: Any) -> str:
    model = {"type": "BPE", "vocab": VOCAB, "merges": MERGES, **parts.pop("model", {})}
    added = [{"id": 0, "content": "<s>", "special": True, "lstrip": False}]
    return json.dumps({"version": "1.0", "added_tokens": added, "model": model, **parts})


def whats(left: str, right: str, path: str = "tokenizer.json") -> list[str]:
    found = told(path, left, right)
    assert not found.equivalent
    return [f"{change.at}: {change.what}" for change in found.changes]


def test_vocabulary_written_in_another_order_is_equivalent() -> None:
    other = tokenizer(model={"vocab": dict(reversed(VOCAB.items()))})
    assert told("tokenizer.json", tokenizer(), other).equivalent


def test_reordered_merges_are_different_and_said_to_be_reordered() -> None:
    other = [*MERGES[:10], MERGES[11], MERGES[10], *MERGES[12:]]
    assert whats(tokenizer(), tokenizer(model={"merges": other})) == [
        "/model/merges: the same 50 merges in another order, from number 10"
    ]


def test_added_and_removed_merges_are_counted() -> None:
    assert whats(tokenizer(), tokenizer(model={"merges": [*MERGES[1:], "x y"]})) == [
        "/model/merges: 1 merge added",
        "/model/merges: 1 merge removed",
    ]


def test_merges_as_pairs_are_not_merges_as_strings() -> None:
    pairs = [merge.split(" ") for merge in MERGES]
    assert whats(tokenizer(), tokenizer(model={"merges": pairs})) == [
        "/model/merges: merges are written as strings left, as pairs right"
    ]


def test_tokens_added_removed_and_renumbered_are_told_by_their_ids() -> None:
    other = {token: number for token, number in VOCAB.items() if token != "t5"}
    other |= {"new": 100, "newer": 101, "t7": 5}
    found = told("tokenizer.json", tokenizer(), tokenizer(model={"vocab": other}))
    assert [(c.what, c.left, c.right) for c in found.changes] == [
        ("2 tokens added, ids 100 to 101", UNSET, {"new": 100, "newer": 101}),
        ("1 token removed, id 5", {"t5": 5}, UNSET),
        ("1 token re-numbered, each by -2", {"t7": 7}, {"t7": 5}),
    ]


def test_changed_flags_of_an_added_token_are_pointed_at() -> None:
    added = [{"id": 0, "content": "<s>", "special": False, "lstrip": False}]
    found = told("tokenizer.json", tokenizer(), tokenizer(added_tokens=added))
    assert [(c.at, c.left, c.right) for c in found.changes] == [
        ("/added_tokens/id 0/special", True, False)
    ]


def test_a_new_added_token_is_named() -> None:
    added = [
        {"id": 0, "content": "<s>", "special": True, "lstrip": False},
        {"id": 100, "content": "<tool>", "special": True},
    ]
    found = told("tokenizer.json", tokenizer(), tokenizer(added_tokens=added))
    assert [(c.at, c.right) for c in found.changes] == [("/added_tokens/id 100", added[1])]


def test_everything_else_in_a_tokenizer_comes_as_a_pointer() -> None:
    found = told("tokenizer.json", tokenizer(), tokenizer(normalizer={"type": "NFC"}))
    assert [c.at for c in found.changes] == ["/normalizer"]


def test_unigram_scores_are_compared() -> None:
    left = tokenizer(model={"vocab": [["a", -1.5], ["b", -2.0]], "merges": None})
    right = tokenizer(model={"vocab": [["a", -1.5], ["b", -2.5]], "merges": None})
    assert whats(left, right) == ["/model/vocab: scores of 1 token changed, the first is 'b'"]


def test_a_vocabulary_as_list_is_not_the_same_as_an_object() -> None:
    left = tokenizer(model={"vocab": {"a": 0, "b": 1}})
    right = tokenizer(model={"vocab": [["a", 0], ["b", 0]]})
    assert told("tokenizer.json", left, right).changes


def test_flat_vocabularies_are_told_in_ids() -> None:
    assert whats('{"a": 0}', '{"a": 0, "b": 1}', "vocab.json") == [": 1 token added, id 1"]
    assert whats('{"a": 0}', '{"a": 1}', "added_tokens.json") == [
        ": 1 token re-numbered, each by +1"
    ]


def test_vocab_txt_is_told_by_line_numbers() -> None:
    found = told("vocab.txt", "[PAD]\nfoo\nbar\n", "[PAD]\nbar\nfoo\nbaz\n")
    assert found.summary == "1 token added, id 3; 2 tokens re-numbered"
    assert not told("vocab.txt", "a\nb\n", "a\nb").equivalent


def test_merges_txt_is_told_by_merges() -> None:
    found = told("merges.txt", "#version: 0.2\na b\nc d\n", "#version: 0.2\nc d\na b\n")
    assert found.summary == "the same 3 merges in another order, from number 1"


def test_two_tokenizers_of_150000_entries_are_compared() -> None:
    # Where every entry was looked for among all others this took hours.
    vocab = {f"token{i}": i for i in range(150_000)}
    merges = [f"tok{i} en{i}" for i in range(150_000)]
    left = tokenizer(model={"vocab": vocab, "merges": merges}).encode()
    right = tokenizer(
        model={"vocab": {**vocab, "new": 150_000}, "merges": [*merges[1:], merges[0]]}
    ).encode()
    found = told("tokenizer.json", left, right)
    assert len(found.changes) == 2
