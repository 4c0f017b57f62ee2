"""For CI servers: a suite for the model, a case for each file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from manifestd.model.change import Diff, FileDiff
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import html, visible
from manifestd.reports.telling import (
    WORDS,
    based,
    details,
    headline,
    outcomes,
    placed,
    title,
    told,
    warnings,
)


class _Case(NamedTuple):
    """One test case; ``kind`` is ``failure``, ``error``, ``skipped`` or empty for a pass."""

    name: str
    kind: str
    type: str
    message: str
    body: str = ""


class JunitReport(Report):
    """JUnit XML as Jenkins, GitLab and GitHub actions read it.

    What differs is a ``failure``, what could not be decided an ``error``: both turn a build
    red, as exit codes 1 and 3 do. A difference that a demand tolerates is ``skipped``.
    """

    name: ClassVar[str] = "junit"
    media_type: ClassVar[str] = "application/xml"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The XML; names illegal in XML are escaped visibly."""
        cases = list(_cases(diff, options))
        kinds = Counter(case.kind for case in cases)
        name = html(title(diff))
        numbers = (
            f'tests="{len(cases)}" failures="{kinds["failure"]}" errors="{kinds["error"]}" '
            f'skipped="{kinds["skipped"]}"'
        )
        properties = "".join(
            f'\n   <property name="{key}" value="{html(value)}"/>'
            for key, value in _properties(diff)
        )
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites name="manifestd diff" {numbers}>',
            f' <testsuite name="{name}" {numbers}>',
            f"  <properties>{properties}\n  </properties>",
            *(_xml(case, name) for case in cases),
            " </testsuite>",
            "</testsuites>",
        ]
        return "\n".join(lines) + "\n"


def _properties(diff: Diff) -> list[tuple[str, str]]:
    found = [("verdict", diff.verdict), ("result", diff.result), ("summary", headline(diff))]
    for label, side in (("left", diff.left), ("right", diff.right)):
        found += [
            (label, placed(side)),
            (f"{label}.snapshot", side.snapshot),
            (f"{label}.signature", side.signature),
        ]
    found += [
        ("warning", f"{path}: {sentence}" if path is not None else sentence)
        for path, sentence in warnings(diff)
    ]
    return found + [("note", note) for note in diff.notes]


def _cases(diff: Diff, options: ReportOptions) -> Iterator[_Case]:
    for finding in diff.findings:
        if finding.get("path") is None:
            kind = {"fail": "failure", "unknown": "error"}.get(str(finding.get("result")), "")
            name = f"({finding.get('side', 'model')}: {finding.get('rule')})"
            yield _Case(name, kind, str(finding.get("rule")), str(finding.get("what")))
    results = outcomes(diff)
    files = listed(diff, options)
    for file in files:
        yield _case(file, results[file.path])
    unlisted = diff.counts.identical - sum(file.verdict == "identical" for file in files)
    if unlisted:
        yield _Case(f"({unlisted} identical files)", "", "identical", "")


def _case(file: FileDiff, result: str) -> _Case:
    kind = {"fail": "failure", "unknown": "error"}.get(result, "")
    if not kind and file.verdict not in {"identical", "equivalent"}:
        kind = "skipped"
    lines = [f"verdict: {WORDS[file.verdict]}", f"known by (left/right): {based(file)}"]
    lines += [*([file.reason] if file.reason else []), *details(file, 20)]
    lines += [f"hint: {file.hint}"] if file.hint else []
    return _Case(file.path, kind, file.verdict, told(file), "\n".join(map(visible, lines)))


def _xml(case: _Case, suite: str) -> str:
    head = f'  <testcase classname="{suite}" name="{html(case.name)}"'
    if not case.kind:
        return head + "/>"
    body = "\n".join(html(line) for line in case.body.split("\n"))
    if case.kind == "skipped":
        return f'{head}>\n   <skipped message="{html(case.message)}"/>\n  </testcase>'
    return (
        f'{head}>\n   <{case.kind} type="{html(case.type)}" message="{html(case.message)}">'
        f"{body}</{case.kind}>\n  </testcase>"
    )
