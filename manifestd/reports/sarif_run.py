"""A run as one SARIF run: a result for each file, finding and side that is not plainly fine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from manifestd import canonical
from manifestd._version import __version__
from manifestd.model.run import Run, RunModel
from manifestd.model.run_view import RunView
from manifestd.reports.escape import uri, visible
from manifestd.reports.run_telling import (
    Item,
    items,
    next_steps,
    run_errors,
    run_headline,
    unverified,
)
from manifestd.reports.telling import based

_LEVELS: Final = {"fail": "error", "error": "error", "unknown": "warning", "pass": "note"}
_POLICY: Final = "policy/"
_CONFIGURATION: Final = "manifestd.toml"


class Rule(NamedTuple):
    """What a rule's results have in common; code scanning shows both beside each of them.

    Attributes:
        what: What is wrong.
        help: What to do.
    """

    what: str
    help: str


_MORE_RULES: Final = {
    "run": Rule(
        "Models may be missing from the run.",
        "Mend what the message names, and run it again: nothing is said of those models.",
    ),
    "side": Rule(
        "A side could not be snapshotted.",
        "Check its name and what the credentials may see; until it answers, nothing is known of it.",
    ),
    "model": Rule("The model could not be judged.", "The message says why, and what to do."),
    "problem": Rule(
        "Content contradicts the digest that its source declares.",
        "Somebody or something changed what was stored: look today, and do not use it.",
    ),
    "warning": Rule(
        "Something in the files that a reader warns of.", "Look at it; the result does not change."
    ),
}

Objects = Iterator[dict[str, Any]]


def run_of(run: RunView, known: Mapping[str, Rule]) -> tuple[dict[str, Any], Objects, Objects]:
    """The SARIF run object with its long lists empty, then these: the models and the results.

    Args:
        run: What to show; it is passed over for the rules, and again for each list.
        known: The rules of single comparisons, by id.
    """
    rules = {**known, **_MORE_RULES}
    for name in sorted({finding.rule for model in run.models() for finding in model.policy}):
        rules[_POLICY + name] = Rule(
            f"The policy's rule {visible(name)} objects.",
            "Do what the message says, correct [policy] in manifestd.toml, or waive it for a time.",
        )
    numbers = {name: number for number, name in enumerate(rules)}
    wrong = (_error(item, numbers) for item in run_errors(run.head))
    results = (_result(item, model, numbers) for model in run.models() for item in items(model))
    return _object(run.head, driver_of(rules)), map(_summary, run.models()), chain(wrong, results)


def driver_of(rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The tool with its rules, in the order that ``ruleIndex`` counts.

    Without ``name``: SARIF wants one that is not the id. With ``fullDescription`` and ``help``:
    GitHub demands them.
    """
    return {
        "name": "manifestd",
        "version": __version__,
        "rules": [
            {
                "id": name,
                "shortDescription": {"text": rule.what},
                "fullDescription": {"text": f"{rule.what} {rule.help}"},
                "help": {"text": rule.help},
            }
            for name, rule in rules.items()
        ],
    }


def _object(head: Run, driver: dict[str, Any]) -> dict[str, Any]:
    invocation: dict[str, Any] = {
        "executionSuccessful": not head.interrupted and not head.errors,
        "startTimeUtc": head.started_at,
        "endTimeUtc": head.finished_at,
        "exitCode": head.exit_code,
    }
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"manifestd-run/{uri(head.run_id)}"},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "summary": run_headline(head),
            "notes": [visible(note) for note in head.notes],
            "models": [],
        },
        "results": [],
    }


def _summary(model: RunModel) -> dict[str, Any]:
    return {
        "name": visible(model.name),
        "result": model.result,
        "verdict": model.verdict,
        "sides": {
            visible(name): {"reference": visible(side.reference), "snapshot": side.snapshot}
            for name, side in model.sides.items()
        },
        "next": [visible(step) for step in next_steps(model)],
        "unverified": [visible(text) for text in unverified(model)],
    }


def _error(item: Item, numbers: Mapping[str, int]) -> dict[str, Any]:
    """An error of the run itself; its place is what names the models."""
    text = item.what + (f". {item.hint}" if item.hint else "")
    return {
        "ruleId": item.kind,
        "ruleIndex": numbers[item.kind],
        "level": _LEVELS[item.result],
        "message": {"text": visible(text)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _CONFIGURATION}}}],
        "partialFingerprints": {
            "manifestdRun/v1": canonical.digest_of([item.kind, item.rule, item.what])[7:]
        },
    }


def _result(item: Item, model: RunModel, numbers: Mapping[str, int]) -> dict[str, Any]:
    rule = _rule(item, numbers)
    place = model.name if item.path is None else f"{model.name}/{item.path}"
    name = f"{item.path}: " if item.path is not None else ""
    side = f"{item.side}: " if item.side else ""
    text = f"{model.name}: {side}{name}{item.what}" + (f". {item.hint}" if item.hint else "")
    result: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": numbers[rule],
        "level": "warning" if item.mark == "warning" else _LEVELS[item.result],
        "message": {"text": visible(text)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(place)}}}],
        "partialFingerprints": {"manifestdRun/v1": canonical.digest_of(_identity(item, model))[7:]},
        "properties": {"model": visible(model.name), "side": visible(item.side)},
    }
    if item.file is not None:
        file = item.file
        result["properties"] |= {
            "impact": file.impact, "role": file.role, "knownBy": visible(based(file)),
        }  # fmt: skip
    if item.mark == "waived":
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return result


def _rule(item: Item, numbers: Mapping[str, int]) -> str:
    if item.kind in _MORE_RULES:
        return item.kind
    rule = _POLICY + item.rule if item.kind == "policy" else item.rule
    return rule if rule in numbers else "finding"


def _identity(item: Item, model: RunModel) -> list[str]:
    parts = [model.name, item.kind, item.side, item.rule, item.path or ""]
    if item.file is not None:
        sides = (item.file.left, item.file.right)
        parts += [side.digests.get("sha256", "") if side else "" for side in sides]
    return parts if item.kind != "warning" else [*parts, item.what]
