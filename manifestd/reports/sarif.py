"""For code scanning: SARIF 2.1.0 (OASIS), one result for each file that is not identical."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from manifestd import canonical
from manifestd.model.change import Diff, FileDiff
from manifestd.model.run_view import RunView
from manifestd.reports.base import Report, ReportOptions
from manifestd.reports.escape import uri, visible
from manifestd.reports.json_lines import json_pieces
from manifestd.reports.sarif_run import Rule, driver_of, run_of
from manifestd.reports.telling import based, headline, outcomes, placed, title, told

_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

_RULES: Final = {
    "different": Rule(
        "The file's bytes differ between the two sides.",
        "Look at the keys or tensors that are named, then copy the file again from the reference.",
    ),
    "leftOnly": Rule(
        "The file is missing on the right side.", "Copy the file again from the reference."
    ),
    "rightOnly": Rule(
        "The file is only on the right side.", "Find out who put it there, or remove it."
    ),
    "moved": Rule(
        "The same bytes are under another path.",
        "Rename it back, or say in manifestd.toml that it may move (paths).",
    ),
    "unverifiable": Rule(
        "No digest that both sides have is strong enough to decide.",
        "Take the snapshot again with --read all, or ask the store for a sha256 checksum.",
    ),
    "equivalent": Rule(
        "Other bytes, which no known reader can tell apart.",
        "Nothing to do, unless only the same bytes will do (--strict).",
    ),
    "signature": Rule(
        "A side is not signed by a key that counts.",
        "manifestd verify says which key signed it; sign it, or trust that key.",
    ),
    "incomplete": Rule(
        "A side could not be listed or read completely.",
        "Mend what the snapshot names, and take it again.",
    ),
    "finding": Rule("Something else that the comparison found.", "The message says what to do."),
}
_LEVELS: Final = {"fail": "error", "unknown": "warning", "pass": "note"}


class SarifReport(Report):
    """SARIF for GitHub code scanning and the like; fingerprints keep alerts apart over time."""

    name: ClassVar[str] = "sarif"
    media_type: ClassVar[str] = "application/sarif+json"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The log with one run. Identical files give no result."""
        results = outcomes(diff)
        found = [
            _of_finding(item, diff)
            for item in diff.findings
            if item.get("rule") not in {"strict", "min-impact"}
        ]
        found += [
            _of_file(file, results[file.path], diff)
            for file in diff.files
            if file.verdict != "identical"
        ]
        return "".join(json_pieces(_log(_run(diff, found)), []))

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """The log with one run. A file's place is ``model/path``."""
        found, models, results = run_of(run, _RULES)
        yield from json_pieces(_log(found), [("models", models), ("results", results)])


def _log(run: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _run(diff: Diff, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tool": {"driver": driver_of(_RULES)},
        # The slash at its end makes all of it the category: without one, the last part of the
        # name would tell runs apart, and one model's alerts would replace another's.
        "automationDetails": {"id": f"manifestd-diff/{uri(title(diff))}/"},
        "invocations": [{"executionSuccessful": diff.result != "error"}],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "summary": visible(headline(diff)),
            "verdict": diff.verdict,
            "result": diff.result,
            "left": _side(diff, "left"),
            "right": _side(diff, "right"),
            "notes": [visible(note) for note in diff.notes],
        },
        "results": results,
    }


def _side(diff: Diff, name: str) -> dict[str, Any]:
    side = diff.left if name == "left" else diff.right
    return {
        "source": visible(placed(side)),
        "snapshot": side.snapshot,
        "manifest": side.manifest,
        "signature": side.signature,
    }


def _of_file(file: FileDiff, result: str, diff: Diff) -> dict[str, Any]:
    identity = [title(diff), file.path, file.verdict]
    identity += [side.digests.get("sha256", "") if side else "" for side in (file.left, file.right)]
    text = f"{visible(file.path)}: {visible(told(file))}"
    if file.hint:
        text += f". {visible(file.hint)}"
    return {
        "ruleId": file.verdict,
        "ruleIndex": list(_RULES).index(file.verdict),
        "level": _LEVELS[result],
        "message": {"text": text},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": uri(file.path)}}},
        ],
        "partialFingerprints": {"manifestdDiff/v1": canonical.digest_of(identity)[7:]},
        "properties": {"impact": file.impact, "role": file.role, "knownBy": visible(based(file))},
    }


def _of_finding(finding: dict[str, Any], diff: Diff) -> dict[str, Any]:
    """A finding; one about the whole model stands at its name: GitHub takes none without a place."""
    rule = str(finding.get("rule"))
    rule = rule if rule in _RULES else "finding"
    path = finding.get("path")
    name = f"{visible(path)}: " if isinstance(path, str) else ""
    what = str(finding.get("what"))
    place = path if isinstance(path, str) else title(diff)
    identity = [title(diff), rule, place, what]
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": _LEVELS.get(str(finding.get("result")), "warning"),
        "message": {"text": name + visible(what)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(place)}}}],
        "partialFingerprints": {"manifestdDiff/v1": canonical.digest_of(identity)[7:]},
    }
