"""What a run says in words: the headline, what each model has, what to do, what was not verified.

Texts from here are not escaped yet: each report escapes them for its medium.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from typing import Final, Literal, NamedTuple

from manifestd.display import size_text, some_of
from manifestd.model.change import Diff, FileDiff, Result, Side
from manifestd.model.failure import Failure
from manifestd.model.run import RESULTS, Run, RunFinding, RunModel, RunSide
from manifestd.reports.escape import shorten
from manifestd.reports.telling import (
    WORDS,
    headline,
    outcomes,
    placed,
    plural,
    signed,
    told,
    warnings,
)

Kind = Literal["run", "side", "model", "problem", "demand", "file", "policy", "warning"]

_FEW: Final = 3
_POINTERS: Final = 3


class Item(NamedTuple):
    """One thing a run has to say of a model, in whatever form a report shows it.

    Attributes:
        kind: ``run``, ``side`` and ``model`` are errors, ``problem`` is content that contradicts what
            was declared of it, ``demand`` is about a whole comparison, ``warning`` only tells.
        result: Its part in the model's result.
        side: The side it is about; empty for the whole model.
        path: The file, or None.
        rule: Verdict, error code or the policy's key.
        what: One sentence.
        hint: One action, if there is one.
        file: The file's diff, for ``file``.
        mark: ``waived`` or ``warning`` for what passes all the same.
    """

    kind: Kind
    result: Result
    side: str
    path: str | None
    rule: str
    what: str
    hint: str | None = None
    file: FileDiff | None = None
    mark: str = ""


def result_of(run: Run) -> Result:
    """The worst result of its models and of its own errors; ``pass`` of a run that judged none.

    What an interrupted run did not judge is undecided.
    """
    counts = run.counts
    there = {
        "fail": counts.fail, "error": counts.error + len(run.errors),
        "unknown": counts.unknown, "pass": counts.passed,
    }  # fmt: skip
    found: Result = next((result for result in RESULTS if there[result]), "pass")
    return "unknown" if run.interrupted and found == "pass" else found


def run_headline(run: Run) -> str:
    """``17 of 20 models passed; 1 failed, 2 could not be judged``."""
    counts = run.counts
    total = counts.passed + counts.fail + counts.unknown + counts.error
    parts = [
        plural(counts.fail, "failed", "failed"),
        plural(counts.error, "could not be judged", "could not be judged"),
        plural(counts.unknown, "is undecided", "are undecided"),
    ]
    said = ", ".join(part for part in parts if part)
    models = "model" if total == 1 else "models"
    head = f"{counts.passed} of {total} {models} passed"
    if total == 1:
        head = "the model passed" if counts.passed else "the model did not pass"
    if not total:
        head = "no model was judged"
    missing = "; models may be MISSING" if run.errors else ""
    ended = "; INTERRUPTED" if run.interrupted else ""
    return head + (f"; {said}" if said else "") + missing + ended


def run_errors(run: Run) -> list[Item]:
    """What went wrong with the run itself, and not with one of its models."""
    return [
        Item("run", "error", "", None, error.code, _because_of(error), error.hint)
        for error in run.errors
    ]


def run_facts(run: Run) -> str:
    """When, how long and what it cost, in one line."""
    parts = [
        f"run {run.run_id}",
        f"started {run.started_at[:19]}Z",
        f"{run.seconds:.1f} s",
    ]
    if run.offline:
        parts.append("offline: nothing was read, stored snapshots were compared")
    else:
        parts.append(f"read {size_text(run.bytes_read)}, reused {size_text(run.bytes_reused)}")
        parts.append(f"{run.requests} requests")
    return ", ".join(parts)


def model_line(model: RunModel) -> str:
    """One model in one line: what failed first, else what was found equal."""
    parts = [f"{item.side}: {item.what}" if item.side else item.what for item in _errors(model)]
    for item in list(_contradictions(model))[:_FEW]:
        where = f"{item.path}: " if item.path is not None else ""
        parts.append(f"{item.side}: {where}{item.what}")
    several = len(model.compared) > 1
    for side, diff in zip(model.compared, model.diffs, strict=False):
        line = headline(diff, right=side)
        parts.append(f"{side} {line}" if several else line)
        parts += [item.what for item in _demands(side, diff)]
    broken = [finding for finding in model.policy if fails(finding)]
    if broken:
        first = broken[0]
        where = f" ({first.path})" if first.path is not None else ""
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        parts.append(f"policy {first.rule}: {first.what}{where}{more}")
    return "; ".join(dict.fromkeys(parts)) or "nothing was compared"


def items(model: RunModel) -> Iterator[Item]:
    """Everything that is not plainly fine: errors, objections, files in path order, warnings."""
    yield from _errors(model)
    yield from _contradictions(model)
    for side, diff in zip(model.compared, model.diffs, strict=False):
        yield from _demands(side, diff)
    policy = list(map(_of_policy, model.policy))
    yield from (item for item in policy if not item.mark)
    for side, diff in zip(model.compared, model.diffs, strict=False):
        results = outcomes(diff)
        for file in diff.files:
            if file.verdict != "identical":
                yield _of_file(side, file, results[file.path])
    yield from (item for item in policy if item.mark)
    for side, diff in zip(model.compared, model.diffs, strict=False):
        for path, sentence in warnings(diff):
            yield Item("warning", "pass", side, path, "warning", sentence, mark="warning")


def sentence(item: Item) -> str:
    """What an item says, beginning with its file's verdict where the words do not have it."""
    if item.file is None or item.rule in {"leftOnly", "rightOnly", "moved"}:
        return item.what
    return f"{WORDS[item.file.verdict]}: {item.what}"


def fails(finding: RunFinding) -> bool:
    """Whether the policy's objection counts: an error that nobody waived."""
    return finding.severity == "error" and finding.waived is None


def next_steps(model: RunModel) -> list[str]:
    """What to do, most urgent first, each once: what to copy, what to look at, what to run."""
    steps = [failure.hint or "" for failure in _failures(model)]
    steps += [
        f"check that {side.reference} exists and is spelled right in manifestd.toml"
        for side in model.sides.values()
        if side.error is not None and side.error.code == "source-not-found" and not side.error.hint
    ]
    wrong = list(_contradictions(model))
    doubtful = {item.path for item in wrong if item.side == model.reference}
    steps += [
        f"{item.hint} ({item.path} on {item.side})"
        if item.hint
        else f"find out why {item.path} on {item.side} is not what was declared of it"
        for item in wrong[:_FEW]
    ]
    for side, diff in zip(model.compared, model.diffs, strict=False):
        steps += _of_diff(side, diff, doubtful)
    steps += _of_policies(model)
    found = [step for step in dict.fromkeys(steps) if step]
    if model.result != "pass":
        found.append(f"check again: manifestd run --only {shlex.quote(model.name)}")
    return found


def unverified(model: RunModel) -> list[str]:
    """What this result does not rest on: bytes nobody read, sides out of reach, signatures."""
    said: list[str] = []
    for name, side in model.sides.items():
        if side.snapshot is None:
            said.append(f"{name}: no snapshot, so nothing on it was looked at")
            continue
        said += [f"{name}: {text}" for text in _grades(side)]
        open_problems = sum(problem.severity == "error" for problem in side.problems)
        if not side.complete:
            said.append(f"{name}: the snapshot is incomplete" + _because(open_problems))
    for name, diff in zip(model.compared, model.diffs, strict=False):
        count = diff.counts.unverifiable
        if count:
            said.append(f"{name}: {count_of_files(count)} could not be compared")
        for label, part in ((model.reference, diff.left), (name, diff.right)):
            if part.signature != "verified":
                said.append(f"{label}: the snapshot is {signed(part).lower()}")
    missing = [name for name in model.sides if name not in {model.reference, *model.compared}]
    said += [f"{name}: not compared with {model.reference}" for name in missing]
    return list(dict.fromkeys(said))


def _errors(model: RunModel) -> Iterator[Item]:
    seen: set[tuple[str, str]] = set()
    for name, side in model.sides.items():
        if side.error is not None:
            error = side.error
            seen.add((error.code, error.what))
            yield Item("side", "error", name, None, error.code, error.what, error.hint)
    error_ = model.error
    if error_ is not None and (error_.code, error_.what) not in seen:
        yield Item("model", "error", "", None, error_.code, error_.what, error_.hint)


def _failures(model: RunModel) -> Iterator[Failure]:
    for side in model.sides.values():
        if side.error is not None:
            yield side.error
    if model.error is not None:
        yield model.error


def _contradictions(model: RunModel) -> Iterator[Item]:
    for name, side in model.sides.items():
        for problem in side.problems:
            if problem.severity == "mismatch":
                yield Item(
                    "problem", "fail", name, problem.path, problem.code, problem.what, problem.hint
                )


def _demands(side: str, diff: Diff) -> Iterator[Item]:
    for finding in diff.findings:
        result = finding.get("result")
        if finding.get("path") is None and result in {"fail", "unknown"}:
            hint = finding.get("hint")
            yield Item(
                "demand", "fail" if result == "fail" else "unknown", side, None,
                str(finding.get("rule")), str(finding.get("what")),
                hint if isinstance(hint, str) else None,
            )  # fmt: skip


def _of_policy(finding: RunFinding) -> Item:
    what, mark = finding.what, ""
    if finding.waived is not None:
        note = finding.waived
        until = str(note.get("expires"))[:10]
        what += f" (waived by {note.get('owner')} until {until}: {note.get('reason')})"
        mark = "waived"
    elif finding.severity == "warning":
        mark = "warning"
    result: Result = "fail" if fails(finding) else "pass"
    return Item(
        "policy", result, finding.side, finding.path, finding.rule, what, finding.hint, mark=mark
    )


def _of_file(side: str, file: FileDiff, result: str) -> Item:
    known: Result = "fail" if result == "fail" else "unknown" if result == "unknown" else "pass"
    what = told(file)
    if file.verdict in {"leftOnly", "rightOnly"} and (there := file.left or file.right):
        where = f"missing on {side}" if file.verdict == "leftOnly" else f"only on {side}"
        what = f"{where} ({size_text(there.size)})"
    return Item("file", known, side, file.path, file.verdict, what, file.hint, file)


def _of_policies(model: RunModel) -> Iterator[str]:
    """What to do about the policy's objections, each action once, with the files it is for."""
    files: dict[str, list[str]] = {}
    for finding in filter(fails, model.policy):
        if finding.hint:
            named = files.setdefault(finding.hint, [])
            if finding.path is not None and finding.path not in named:
                named.append(finding.path)
    for hint, paths in files.items():
        # Names come last: a long one must not push the action out of the line.
        yield f"{hint} ({few_names(paths)})" if paths else hint


def _of_diff(side: str, diff: Diff, doubtful: Collection[str | None]) -> Iterator[str]:
    """Steps for one comparison; the reference is right by definition, so the other is mended.

    Not by files whose bytes there are not what was declared of them: copied, they would replace
    what may be the last good ones.
    """
    results = outcomes(diff)
    wrong = [file for file in diff.files if results[file.path] != "pass"]
    here, there = placed(diff.left), diff.right.source
    for file in [file for file in wrong if file.verdict == "different"][:_POINTERS]:
        places = [change.at for change in file.changes if change.at.startswith(("/", "line"))]
        if places:
            yield f"look at {', '.join(places[:_FEW])} in {file.path}"
    again = [file.path for file in wrong if file.verdict in {"different", "leftOnly"}]
    if kept := [path for path in again if path in doubtful]:
        yield f"copy nothing of {few_names(kept)} from {here}: its bytes there are in doubt"
    if good := [path for path in again if path not in doubtful]:
        yield f"copy {few_names(good)} again from {here} to {there}"
    extra = [file.path for file in wrong if file.verdict == "rightOnly"]
    if extra:
        yield f"remove {few_names(extra)} from {there}, or find out who put it there"
    for file in [file for file in wrong if file.verdict == "moved"][:_POINTERS]:
        yield (
            f"rename {file.path} back to {file.moved_from} on {side}, or say in manifestd.toml "
            f"that it may move: paths = [[{_toml(file.moved_from or '')}, {_toml(file.path)}]]"
        )
    for name, part in (("reference", diff.left), (side, diff.right)):
        if any(item.rule == "signature" for item in _demands(side, diff)):
            yield from _signing(name, part)
    unsure = [file for file in wrong if file.verdict == "unverifiable"]
    yield from list(dict.fromkeys(file.hint for file in unsure if file.hint))[:_FEW]


def _signing(name: str, part: Side) -> Iterator[str]:
    if part.signature == "unsigned":
        yield f"sign what is taken of {name}: set key in [signing] of manifestd.toml, snapshot again"
    elif part.signature == "untrusted":
        yield f"look at the key that signed {name}: manifestd verify {part.snapshot[:19]}"
    elif part.signature == "invalid":
        yield f"find out who changed the signature of {name}: manifestd verify {part.snapshot[:19]}"


def _grades(side: RunSide) -> Iterator[str]:
    counts = side.evidence
    if counts is None:
        return
    if counts.declared:
        yield f"{count_of_files(counts.declared)} known only by what the source's listing declares"
    if counts.stored:
        yield f"{count_of_files(counts.stored)} known by a checksum that the store keeps, not read"
    if counts.none:
        yield f"{count_of_files(counts.none)} without a known sha256"


def _because_of(error: Failure) -> str:
    return f"{error.what}: {error.why}" if error.why else error.what


def _because(problems: int) -> str:
    return f" ({plural(problems, 'problem', 'problems')})" if problems else ""


def count_of_files(count: int) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} file" if count == 1 else f"{count} files"


def few_names(paths: list[str]) -> str:
    """The first of them, and how many more there are."""
    return some_of(paths, _FEW, lambda path: shorten(path, 120))


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
