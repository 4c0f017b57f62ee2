"""For CI servers: a suite for a model, a case for each file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, Final, NamedTuple

from manifestd.model.change import Diff, FileDiff
from manifestd.model.run import Run, RunModel
from manifestd.model.run_view import RunView
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import html, visible
from manifestd.reports.run_sides import problem_lines, side_line
from manifestd.reports.run_telling import (
    Item,
    items,
    model_line,
    next_steps,
    run_errors,
    run_headline,
    unverified,
)
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
        suite = _Suite(title(diff), list(_cases(diff, options)), _properties(diff))
        total = Counter(case.kind for case in suite.cases)
        return _begin("manifestd diff", total) + _suite(suite) + _END

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """A suite for each model; a side that could not be snapshotted is a case with an error.

        What went wrong with the run itself has a suite of its own, before them.
        """
        wrong = [_told(item, f"({item.rule})", "error") for item in run_errors(run.head)]
        total = Counter(case.kind for case in wrong)
        for model in run.models(failing_only=options.changes_only):
            total.update(case.kind for case in _run_cases(model))
        yield _begin(f"manifestd run {run.head.run_id}", total)
        if wrong:
            yield _suite(_Suite("(run)", wrong, [("summary", run_headline(run.head))]))
        for model in run.models(failing_only=options.changes_only):
            yield _suite(_of_model(model, run.head))
        yield _END


class _Suite(NamedTuple):
    """One test suite: a model."""

    name: str
    cases: list[_Case]
    properties: list[tuple[str, str]]
    more: str = ""


_END: Final = "</testsuites>\n"


def _begin(name: str, total: Counter[str]) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="{html(name)}" {_numbers(total)}>\n'
    )


def _suite(suite: _Suite) -> str:
    title_ = html(suite.name)
    kinds = Counter(case.kind for case in suite.cases)
    properties = "".join(
        f'\n   <property name="{html(key)}" value="{html(value)}"/>'
        for key, value in suite.properties
    )
    lines = [
        f' <testsuite name="{title_}" {_numbers(kinds)}{suite.more}>',
        f"  <properties>{properties}\n  </properties>",
        *(_xml(case, title_) for case in suite.cases),
        " </testsuite>",
    ]
    return "\n".join(lines) + "\n"


def _numbers(kinds: Counter[str]) -> str:
    return (
        f'tests="{kinds.total()}" failures="{kinds["failure"]}" errors="{kinds["error"]}" '
        f'skipped="{kinds["skipped"]}"'
    )


def _of_model(model: RunModel, run: Run) -> _Suite:
    properties: list[tuple[str, str]] = [("verdict", model.verdict or "none")]
    properties.append(("result", model.result))
    properties.append(("summary", model_line(model)))
    for name, side in model.sides.items():
        properties += [(name, side_line(side)), (f"{name}.snapshot", side.snapshot or "none")]
    properties += [("next", step) for step in next_steps(model)]
    properties += [("unverified", text) for text in unverified(model)]
    properties += [("note", note) for note in model.notes]
    more = f' time="{model.seconds:.3f}" timestamp="{run.started_at[:19]}"'
    return _Suite(model.name, list(_run_cases(model)), properties, more)


def _run_cases(model: RunModel) -> Iterator[_Case]:
    """A case for each side, finding and file; one for all identical files that are not listed."""
    for name, side in model.sides.items():
        if side.snapshot is not None:
            problems = "\n".join(map(visible, problem_lines(side, 20)))
            yield _Case(f"({name}: snapshot)", "", "snapshot", "", problems)
    several = len(model.compared) > 1
    for item in items(model):
        if item.kind == "warning":
            continue
        where = f"{item.side}: " if item.side and (several or item.kind != "file") else ""
        if item.file is not None:
            case = _case(item.file, item.result)
            yield case._replace(name=where + case.name)
            continue
        kind = {"fail": "failure", "pass": "skipped"}.get(item.result, "error")
        name = f"({where}{item.rule})" + (f" {item.path}" if item.path is not None else "")
        yield _told(item, name, kind)
    for name, diff in zip(model.compared, model.diffs, strict=False):
        listed_ = [file for file in diff.files if file.verdict == "identical"]
        for file in listed_:
            case = _case(file, "pass")
            yield case._replace(name=f"{name}: {case.name}" if several else case.name)
        if unlisted := diff.counts.identical - len(listed_):
            yield _Case(f"({name}: {unlisted} identical files)", "", "identical", "")


def _told(item: Item, name: str, kind: str) -> _Case:
    lines = [item.what, *([f"hint: {item.hint}"] if item.hint else [])]
    return _Case(name, kind, item.rule, item.what, "\n".join(map(visible, lines)))


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
