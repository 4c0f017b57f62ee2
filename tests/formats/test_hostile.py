"""Sizes and depths that would break a careless reader."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from manifestd.formats import reader_for
from tests.formats.support import explain, facts_of


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 10_000_000,
        b'{"a":' * 2_000_000,
        b"[[]," * 3_000_000,
        b"[" + b"0," * 5_000_000,
        b"1" * 10_000_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'"' + b"\\ud83d" * 1_000_000 + b'"',
        b'{"a": 1e' + b"9" * 500 + b"}",
        b"\xff" * 1_000_000,
    ],
    ids=[
        "brackets",
        "objects",
        "wide",
        "commas",
        "digits",
        "long",
        "surrogates",
        "exponent",
        "not utf-8",
    ],
)
def test_hostile_json_is_refused(data: bytes) -> None:
    # Where a parser goes along with it, it ends the process or takes minutes.
    facts = facts_of("model.safetensors.index.json", data)
    assert facts is not None
    assert "refused" in facts


def test_hostile_json_takes_bounded_memory() -> None:
    code = """
import resource, sys
sys.path.insert(0, ".")
from manifestd.formats import jsontext
from manifestd.formats.bounds import RefusedError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for data in (b"[" * 10_000_000, b"[[]," * 3_000_000, b"[" + b"{}," * 1_200_000 + b"{}]"):
    try:
        jsontext.parse(data)
    except RefusedError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 400


def test_a_deep_tree_within_bounds_is_compared() -> None:
    deep = "[" * 200 + "]" * 200
    found = explain("a.json", deep.encode(), (deep.replace("[]", "[1]")).encode())
    assert found is not None
    assert not found.equivalent


def test_long_names_and_texts_do_not_reach_the_diff_uncut() -> None:
    left = json.dumps({"k" * 100_000: "v" * 100_000, "deep": {"x" * 1000: {"y" * 1000: 1}}})
    found = explain("a.json", left.encode(), b'{"deep": {}}')
    assert found is not None
    assert sum(len(str(change)) for change in found.changes) < 4000


def test_a_reader_imports_only_what_it_needs() -> None:
    code = (
        "import sys; from manifestd.formats import reader_for; reader_for('config.json', 1);"
        "reader_for('m.safetensors', 1);"
        "print([m for m in ('yaml','blake3','boto3','pickletools','numpy','torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_files_that_do_not_begin_as_their_name_says_are_noted() -> None:
    facts = facts_of("tf_model.h5", b"\x80\x04evil")
    assert facts is not None
    assert facts["kind"] == "HDF5 weights"
    assert "does not begin" in facts["note"]
    assert facts_of("model.onnx", b"\x08\x07") == {"format": "named/1", "kind": "ONNX model"}
    reader = reader_for("saved_model.pb", 1)
    assert reader is not None
    found = reader.explain("saved_model.pb", None, None, None, None)
    assert found is not None
    assert "compared by bytes" in str(found.summary)
