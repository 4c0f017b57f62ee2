"""The checked-in schemas are those of the types, and they refuse what the types cannot say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from manifestd import canonical
from manifestd.model.change import (
    Basis,
    Change,
    Counts,
    Diff,
    FileDiff,
    FileSide,
    Side,
    TensorDiff,
    WeightsDiff,
)
from manifestd.model.entry import File, Observation, Problem
from manifestd.model.failure import Failure
from manifestd.model.files import FileList, listed
from manifestd.model.snapshot import EvidenceCounts, SnapshotResult
from manifestd.model.verification import Checked, Flaw, SignatureCheck, VerifyReport, VerifyResult
from tests.support.schemas import CANONICAL, FOLDER, SCHEMAS, check_document, schema_of, text_of

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = re.compile(
    r"<!-- schema: (?P<name>[a-z-]+)(?:, digest: (?P<digest>sha256:[0-9a-f]{64}))? -->\n"
    r"```json\n(?P<block>.*?)\n```",
    re.DOTALL,
)
DIGEST = "sha256:" + "0" * 64
SIDE = Side(snapshot=DIGEST, manifest=None, source="s3://b/p/", revision=None,
            captured_at="2026-01-02T03:04:05Z", signature="unsigned")  # fmt: skip
FILE_SIDE = FileSide(size=1, digests={"sha256": "0" * 64, "md5": "0" * 32}, evidence="measured")

EXAMPLES: dict[str, Any] = {
    "observation": Observation(role="weights", digests={"sha1-git": "0" * 40},
                               evidence={"sha256": "stored"}, facts=DIGEST, body=True),
    "snapshot-result": SnapshotResult(
        snapshot=DIGEST, manifest=DIGEST, complete=True, name="gpt2", source="hf://gpt2",
        requested="main", revision="0" * 40, captured_at="2026-01-02T03:04:05Z", files=2, bytes=3,
        bytes_read=3, requests=4, evidence=EvidenceCounts(measured=2), signed_by=["alice"],
        problems=[Problem(path="a", code="digest-mismatch", what="a differs")], seconds=0.8),
    "diff": Diff(
        left=SIDE, right=SIDE, verdict="different", result="fail", counts=Counts(different=1),
        files=[
            FileDiff(path="b", verdict="moved", moved_from="a", left=FILE_SIDE, right=FILE_SIDE),
            FileDiff(path="config.json", verdict="different", role="config", impact="behaviour",
                     left=FILE_SIDE, right=FILE_SIDE,
                     basis=Basis(algorithm="sha256", left="measured", right="stored"),
                     changes=[Change(at="/dtype", left="float16", right=None)],
                     tensors=TensorDiff(same=1, changed=["h.0"], metadata="same")),
        ],
        weights=WeightsDiff(left=DIGEST, right=None, equal=None)),
    "files": FileList(snapshot=DIGEST, files=[
        listed(File(path="a", size=0, sha256="0" * 64, seen=Observation(evidence={"sha256": "reused"}))),
        listed(File(path="b", size=1, sha256=None, seen=Observation())),
    ]),
    "verify": VerifyReport(verified=False, snapshots=[
        VerifyResult(reference="gpt2", verified=False, content="verified", signature="untrusted",
                     exit_code=4, snapshot=DIGEST, manifest=DIGEST, name="gpt2", source="hf://gpt2",
                     captured_at="2026-01-02T03:04:05Z", checked=Checked(files=3),
                     signatures=[SignatureCheck(state="untrusted", key_id="0" * 64,
                                                code="key-untrusted", why="not trusted")]),
        VerifyResult(reference="x", verified=False, content="unknown", signature="unsigned",
                     exit_code=3, flaws=[Flaw(code="not-stored", what="nothing is called x")]),
    ]),
    "error": Failure(code="source-not-found", what="no such bucket: 'x'", why=None, hint=None,
                     facts={"bucket": "x"}, exit_code=3),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_checked_in_schema_is_that_of_the_type(name: str) -> None:
    found = (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")
    assert found == text_of(name), "run: python -m tests.support.schemas"


def test_there_is_no_schema_without_a_type() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in SCHEMAS}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_itself_valid(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_the_types_write_fits_its_schema(name: str) -> None:
    check_document(name, msgspec.json.encode(EXAMPLES[name]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_member_that_is_always_written_is_required(name: str) -> None:
    whole = json.loads(msgspec.json.encode(EXAMPLES[name]))
    kind = SCHEMAS[name].__name__
    required = schema_of(name)["$defs"][kind]["required"]
    for member in required:
        with pytest.raises(AssertionError, match=member):
            check_document(name, {key: value for key, value in whole.items() if key != member})
    if name != "observation":  # every member of it has a default that is left out
        assert "schema" in required


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_member_nobody_described_is_found_by_our_own_check(name: str) -> None:
    whole = json.loads(msgspec.json.encode(EXAMPLES[name]))
    with pytest.raises(AssertionError, match="undescribed"):
        check_document(name, {**whole, "undescribed": 1})


def test_readers_of_printed_documents_may_meet_members_of_later_versions() -> None:
    whole = json.loads(msgspec.json.encode(EXAMPLES["diff"]))
    jsonschema.validate({**whole, "later": 1}, schema_of("diff"))
    assert all(schema_of(name)["$defs"][SCHEMAS[name].__name__]["additionalProperties"] is False
               for name in CANONICAL)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("snapshot-result", ["snapshot"], "sha256:abc"),
        ("snapshot-result", ["snapshot"], DIGEST + "\n"),
        ("snapshot-result", ["manifest"], "0" * 64),
        ("snapshot-result", ["files"], -1),
        ("snapshot-result", ["capturedAt"], "2026-01-02 03:04:05"),
        ("snapshot-result", ["schema"], "manifestd.snapshot-result/v2"),
        ("snapshot-result", ["problems", 0, "severity"], "fatal"),
        ("diff", ["verdict"], "same"),
        ("diff", ["files", 0, "path"], ""),
        ("diff", ["files", 0, "left", "digests", "sha256"], "0" * 40),
        ("diff", ["files", 0, "left", "digests", "md5"], "0" * 31 + "G"),
        ("diff", ["left", "signature"], "yes"),
        ("files", ["files", 0, "evidence", "sha256"], "sure"),
        ("verify", ["snapshots", 0, "exitCode"], 1),
        ("verify", ["snapshots", 0, "content"], "fine"),
        ("verify", ["snapshots", 1, "flaws", 0, "code"], ""),
        ("error", ["exitCode"], 0),
        ("error", ["code"], "Source Not Found"),
        ("observation", ["digests", "sha256"], "0" * 64),
    ],
)
def test_a_wrong_value_is_refused(name: str, path: list[str | int], value: Any) -> None:
    document = json.loads(msgspec.json.encode(EXAMPLES[name]))
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    with pytest.raises(AssertionError, match=f"not a {name} document"):
        check_document(name, document)


def _examples_of_documentation() -> list[Any]:
    """Every JSON block that a comment says the schema of."""
    found = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for match in EXAMPLE.finditer(text):
            name, digest, block = match["name"], match["digest"], match["block"]
            found.append(pytest.param(name, digest, block, id=f"{page.name}-{name}"))
    return found


@pytest.mark.parametrize(("name", "digest", "block"), _examples_of_documentation())
def test_an_example_in_the_documentation_fits_its_schema(
    name: str, digest: str | None, block: str
) -> None:
    check_document(name, block)
    if digest:
        assert canonical.digest_of(json.loads(block)) == digest


def test_the_format_has_an_example_of_each_canonical_document_it_defines() -> None:
    names = {item.values[0] for item in _examples_of_documentation()}
    assert {"manifest", "snapshot", "observation", "statement"} <= names


def test_every_json_block_of_the_format_says_its_schema() -> None:
    for page in (DOCS / "format").glob("v*.md"):
        text = page.read_text(encoding="utf-8")
        assert text.count("```json") == len(EXAMPLE.findall(text)), page.name
