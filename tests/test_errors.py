"""Errors carry what, why, hint and facts; their codes and exit codes are a promise."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from manifestd import errors

DOCS = Path(__file__).parents[1] / "docs" / "reference"
CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ManifestdError)
]

# A released code keeps its exit code for ever: scripts match on both.
PROMISED = {
    "not-approved": 1,
    "usage": 2, "config-invalid": 2, "ambiguous-reference": 2, "extra-missing": 2,
    "undecided": 3, "source-not-found": 3, "not-stored": 3, "access-denied": 3,
    "source-unreachable": 3, "rate-limited": 3, "changed-while-reading": 3, "unreadable": 3,
    "source-empty": 3, "store-locked": 3,
    "not-verified": 4, "digest-mismatch": 4, "signature-invalid": 4, "key-untrusted": 4,
    "unsigned": 4, "not-canonical": 4, "malformed": 4, "store-tampered": 4,
}  # fmt: skip


def test_every_promised_code_exists_with_its_exit_code() -> None:
    found = {kind.code: kind.exit_code for kind in CLASSES if kind is not errors.ManifestdError}
    assert {code: found.get(code) for code in PROMISED} == PROMISED


def test_two_classes_share_a_code_only_where_one_is_the_other() -> None:
    for one in CLASSES:
        for other in CLASSES:
            if one.code == other.code and one is not other:
                assert issubclass(one, other) or issubclass(other, one)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_drawn_documented_and_named_alike(kind: type[errors.ManifestdError]) -> None:
    assert kind.__name__.endswith("Error")
    assert inspect.getdoc(kind)
    tree = errors.__doc__ or ""
    assert re.search(rf"\b{kind.__name__}\b", tree)
    if kind is not errors.ManifestdError:
        assert re.search(rf"\b{kind.__name__}\s+{kind.exit_code}\s+{kind.code}\b", tree)


def test_every_code_has_a_row_in_the_reference() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    for kind in CLASSES:
        if kind is not errors.ManifestdError:
            assert f"| `{kind.code}` | {kind.exit_code} |" in page


def test_every_exit_code_has_a_row_in_the_reference() -> None:
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    for code in (0, 1, 70, 130, *{kind.exit_code for kind in CLASSES}):
        assert f"| {code} |" in page


def test_an_error_shows_what_and_keeps_the_rest_as_data() -> None:
    error = errors.MismatchError("a differs", why="it is older", hint="look", facts={"size": 3})
    assert str(error) == error.what == "a differs"
    assert (error.why, error.hint, error.facts) == ("it is older", "look", {"size": 3})


def test_facts_of_two_errors_are_never_shared() -> None:
    one, other = errors.UsageError("one"), errors.UsageError("other")
    one.facts["x"] = 1
    assert other.facts == {}


def test_a_transient_error_is_its_parent_to_users_and_says_how_long_to_wait() -> None:
    error = errors.TransientError("slow down", retry_after=2.5, throttled=True, hint="wait")
    assert isinstance(error, errors.UnreachableError)
    assert error.code == errors.UnreachableError.code
    assert (error.retry_after, error.throttled, error.hint) == (2.5, True, "wait")
