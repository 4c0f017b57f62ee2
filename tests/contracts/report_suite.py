"""What every report promises: it shows what the diff says, and hostile names stay names."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from manifestd.model.change import (
    Basis,
    Change,
    Diff,
    FileDiff,
    FileSide,
    Side,
    TensorDiff,
    WeightsDiff,
)
from manifestd.reports import REPORTS
from manifestd.reports.base import ReportOptions
from manifestd.rules.verdicts import Demands, conclude, count, model_verdict

HOSTILE: dict[str, str] = {
    "a script tag": "<script>alert(1)</script>.json",
    "an attribute breakout": "\" onmouseover='alert(1)' x=\"",
    "an image beacon": "![x](https://evil.example/a.png)<img src=x onerror=alert(1)>",
    "a right-to-left override": "model\u202egnp.bin",
    "a zero-width joiner": "con\u200dfig.json",
    "a pipe and backticks": "a|b``c`|`d",
    "newlines": "a\nb\r\nc\u2028d\u0085e",
    "terminal escapes": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m",
    "the end of CDATA": "]]>]]&gt;<![CDATA[x",
    "characters illegal in XML": "a\x01\x08\x0b\x0c\x1f\x7f\ufffe\uffffb",
    "a name of 1,024 bytes": "x" * 1019 + ".bin\x00",
    "256 of the longest escapes": "\U000e0001" * 256,
    "a formula": '=HYPERLINK("https://evil.example","click")',
    "a mention and a link": "@everyone https://evil.example www.evil.example #1",
    "steps up": "../../etc/passwd",
    "an absolute path": "/etc/shadow",
    "a scheme": "javascript:alert(1)",
    "a space at both ends": " name ",
    "decomposed accents": "caf\u0065\u0301.json",
    "a backslash": "a\\x1b[31m",
    "an entity": "&lt;b&gt;&#60;",
    "heading marks": "# heading\t- item",
    "nothing but emoji": "\U0001f600\U0001f1e9\U0001f1ea",
}
"""What the name does -> the name. All are possible paths on the Hub, S3 or a file system."""


def side(name: str = "org/model", **more: object) -> Side:
    """A verified side; give other values by keyword."""
    values: dict[str, object] = {
        "snapshot": "sha256:" + "ab" * 32,
        "manifest": "sha256:" + "cd" * 32,
        "source": f"hf://{name}",
        "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "captured_at": "2026-03-01T10:00:00.123456Z",
        "signature": "verified",
        "signed_by": ["alice"],
        "name": name,
    }
    return Side(**{**values, **more})  # type: ignore[arg-type]


def known(size: int, digit: str) -> FileSide:
    """One side of a file, its sha256 made of one digit."""
    return FileSide(size=size, digests={"sha256": digit * 64}, evidence="measured")


SAME = Basis(algorithm="sha256", left="measured", right="declared")


def files_of_every_verdict() -> list[FileDiff]:
    """One file of each verdict, in path order, with all that a report may have to show."""
    return [
        FileDiff(
            path="README.md", verdict="equivalent", role="card", impact="cosmetic",
            left=known(10, "1"), right=known(11, "2"), basis=SAME,
            reason="other bytes, equal for every known reader",
        ),
        FileDiff(
            path="config.json", verdict="different", role="config", impact="behaviour",
            left=known(665, "3"), right=known(700, "4"), basis=SAME, reason="sha256 differs",
            summary="2 keys changed",
            changes=[
                Change(
                    at="/torch_dtype", left="float16", right="bfloat16", impact="behaviour",
                    reason="numbers are computed in another type",
                ),
                Change(at="/new", right={"a": [1, 2]}),
                Change(at="/old", left=None),
            ],
            more_changes=7,
        ),
        FileDiff(path="gone.txt", verdict="leftOnly", left=known(1, "5"), impact="metadata"),
        FileDiff(path="new.py", verdict="rightOnly", role="code", right=known(1, "6"), impact="security"),
        FileDiff(
            path="same.bin", verdict="identical", role="weights",
            left=known(5, "7"), right=known(5, "7"), basis=SAME,
        ),
        FileDiff(
            path="unknown.bin", verdict="unverifiable", role="weights",
            left=known(5, "8"), right=FileSide(size=5, digests={"md5": "9" * 32}, evidence="stored"),
            reason="only the size agrees; the left has sha256, the right md5",
            hint="run `manifestd snapshot s3 s3://b/p/ --read missing`, then compare again",
        ),
        FileDiff(
            path="vocab.txt", verdict="moved", role="tokenizer", impact="behaviour",
            moved_from="old/vocab.txt", left=known(9, "a"), right=known(9, "a"), basis=SAME,
        ),
        FileDiff(
            path="weights.safetensors", verdict="different", role="weights", impact="behaviour",
            left=known(2**40, "b"), right=known(2**40, "c"), basis=SAME,
            tensors=TensorDiff(same=147, changed=["h.0.attn.c_attn.weight"], metadata="changed"),
            changes=[Change(at="bytes 0-67108863", what="these 67108864 bytes differ")],
        ),
    ]  # fmt: skip


def diff_of(
    files: list[FileDiff],
    *,
    demands: Demands | None = None,
    left: Side | None = None,
    right: Side | None = None,
    notes: list[str] | None = None,
    unlisted: int = 0,
) -> Diff:
    """The diff of these files, concluded by the real rules."""
    sides = (left or side(), right or side(source="s3://bucket/model/", revision=None))
    result, findings = conclude(files, sides, demands or Demands())
    counts = count(files, identical=unlisted)
    return Diff(
        left=sides[0], right=sides[1], verdict=model_verdict(counts), result=result,
        counts=counts, files=files, notes=notes or [], findings=findings,
        weights=WeightsDiff(left=None, right=None, equal=None),
    )  # fmt: skip


def passing() -> Diff:
    """Two identical models."""
    return diff_of([file for file in files_of_every_verdict() if file.verdict == "identical"])


def failing() -> Diff:
    """A file of every verdict."""
    return diff_of(files_of_every_verdict(), notes=["the two snapshots left out different files"])


def undecided() -> Diff:
    """Nothing differs, something is unknown."""
    wanted = {"identical", "unverifiable"}
    return diff_of([file for file in files_of_every_verdict() if file.verdict in wanted])


def hostile(name: str) -> Diff:
    """``name`` wherever text from outside can stand."""
    file = FileDiff(
        path=name, verdict="different", role="config", impact="behaviour",
        left=FileSide(size=1, digests={"sha256": "1" * 64, name: name}, evidence="declared"),
        right=known(2, "2"), basis=Basis(algorithm=name, left="declared", right="declared"),
        reason=f"{name} differs", hint=f"run {name}", summary=name,
        changes=[
            Change(at=name, left=name, right={name: [name]}, what=name, impact="security", reason=name)
        ],
        tensors=TensorDiff(same=1, changed=[name], left_only=[name], right_only=[name]),
    )  # fmt: skip
    moved = FileDiff(
        path=name + "2", verdict="moved", moved_from=name, left=known(1, "3"), right=known(1, "3"),
        basis=SAME,
    )  # fmt: skip
    unsure = FileDiff(path=name + "3", verdict="unverifiable", reason=name, hint=name)
    here = side(name, signed_by=[name], revision=name)
    there = side(name, source=f"file:///{name}", signature="untrusted", complete=False)
    diff = diff_of([file, moved, unsure], left=here, right=there, notes=[name])
    warned = {"rule": name, "path": name, "what": name, "side": "right", "impact": "security"}
    return msgspec.structs.replace(diff, findings=[*diff.findings, warned])


class ReportSuite:
    """The promise of the family; a member's test subclasses it and names the report."""

    name: ClassVar[str]
    lists_identical: ClassVar[bool] = True
    shows_warnings: ClassVar[bool] = True

    def render(self, diff: Diff, **options: object) -> str:
        """The report of a diff, with its options by keyword."""
        return REPORTS.load(self.name)().diff(diff, msgspec.convert(options, ReportOptions))

    def test_it_is_called_what_the_table_calls_it(self) -> None:
        member = REPORTS.load(self.name)
        assert member.name == self.name
        assert "/" in member.media_type

    def test_every_run_ends_in_exactly_one_newline(self) -> None:
        for diff in (passing(), failing(), undecided()):
            text = self.render(diff)
            assert text.endswith("\n")
            assert not text.endswith("\n\n")

    def test_it_is_the_same_every_time(self) -> None:
        assert self.render(failing()) == self.render(failing())

    def test_every_file_that_is_not_identical_is_named(self) -> None:
        text = self.render(failing())
        for file in files_of_every_verdict():
            if file.verdict != "identical":
                assert file.path in text

    def test_what_readers_warn_of_is_shown(self) -> None:
        warned = {"rule": "pickle-global", "path": "x.pkl", "what": "imports os.system"}
        diff = msgspec.structs.replace(failing(), findings=[warned])
        assert ("imports os.system" in self.render(diff)) is self.shows_warnings

    def test_changes_only_leaves_identical_files_out_and_keeps_the_rest(self) -> None:
        text = self.render(failing(), changes_only=True)
        assert "same.bin" not in text
        assert "config.json" in text
        assert ("same.bin" in self.render(failing())) is self.lists_identical

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_nothing_in_a_name_acts_on_the_screen(self, name: str) -> None:
        text = self.render(hostile(name))
        acting = {char for char in text if not char.isprintable()} - {"\n"}
        assert acting == set()

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_a_name_adds_no_lines(self, name: str) -> None:
        plain = self.render(hostile("plain")).count("\n")
        assert self.render(hostile(name)).count("\n") == plain

    def test_two_names_that_look_alike_read_differently(self) -> None:
        composed, decomposed = "caf\u00e9", "caf\u0065\u0301"
        assert self.render(hostile(composed)) != self.render(hostile(decomposed))
        assert "\u0301" not in self.render(hostile(decomposed)) or self.name == "json"
        escaped, literal = self.render(hostile("a\x1bb")), self.render(hostile("a\\x1bb"))
        assert escaped != literal
