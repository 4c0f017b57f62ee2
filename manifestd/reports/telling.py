"""What a diff says in words: the headline, what matters first, a line for each file.

Texts from here are not escaped yet: each report escapes them for its medium.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from manifestd.display import size_text
from manifestd.model.change import IMPACTS, Change, Diff, FileDiff, Side, TensorDiff, Verdict
from manifestd.reports.escape import shorten

WORDS: Final[dict[Verdict, str]] = {
    "different": "different",
    "leftOnly": "only left",
    "rightOnly": "only right",
    "moved": "moved",
    "unverifiable": "not decided",
    "equivalent": "equivalent",
    "identical": "identical",
}
"""How verdicts are spelled for people, worst first."""

RESULTS: Final = {"pass": "PASS", "fail": "FAIL", "unknown": "UNKNOWN", "error": "ERROR"}

_ALONE: Final = frozenset({"leftOnly", "rightOnly"})
_DEMANDS: Final = frozenset({"strict", "min-impact", "signature", "incomplete"})
_PASSAGES: Final = re.compile(r"(\A| )lines? [0-9]+(-[0-9]+)?\Z")
_TALLY: Final = re.compile(r"[0-9]+ of [0-9]+ tensors changed")
_WORST: Final = tuple(WORDS)
_HIGHLIGHTS: Final = 3
_VALUE: Final = 80
_BRIEF: Final = 100
_FEW: Final = 3
_NOTED: Final = 5
_PASSAGE: Final = 120
_PASSAGE_LINES: Final = 4


def headline(diff: Diff, *, right: str = "the right") -> str:
    """The verdict in one line: ``different: 1 file differs, 1 is only on the right; 9 identical``.

    Args:
        diff: The comparison.
        right: What the right side is called.
    """
    counts = diff.counts
    parts = [
        plural(counts.different, "file differs", "files differ"),
        plural(counts.left_only, f"is missing on {right}", f"are missing on {right}"),
        plural(counts.right_only, f"is only on {right}", f"are only on {right}"),
        plural(counts.unverifiable, "cannot be decided", "cannot be decided"),
        plural(counts.moved, "moved", "moved"),
        plural(counts.equivalent, "is equivalent", "are equivalent"),
    ]
    said = [part for part in parts if part]
    same = plural(counts.identical, "file is identical", "files are identical")
    if not said:
        return f"{diff.verdict}: {same or 'nothing was compared'}"
    strict = any(finding.get("rule") == "strict" for finding in diff.findings)
    why = "--strict fails what is only equivalent" if strict else ""
    return f"{diff.verdict}: " + "; ".join(filter(None, (", ".join(said), same, why)))


def highlights(diff: Diff) -> list[tuple[str | None, str]]:
    """The two or three things that matter most: (path or None, sentence)."""
    found: list[tuple[str | None, str]] = [
        (None, str(finding.get("what", "")))
        for finding in diff.findings
        if finding.get("path") is None and finding.get("result") != "pass"
    ]
    ranked = sorted((f for f in diff.files if f.verdict != "identical"), key=_weight)
    weights = _weights_told(diff, ranked)
    if weights is not None:
        found.append((None, weights))
        # Files that came and went are told by that one sentence; other files come first.
        ranked = [f for f in ranked if not (f.role == "weights" and f.verdict in _ALONE)]
        ranked.sort(key=lambda file: file.role == "weights" and file.impact != "security")
    found += [(file.path, told(file)) for file in ranked]
    return found[:_HIGHLIGHTS]


def notes(diff: Diff) -> list[str]:
    """What must be known besides: the comparison's notes, and tensors that changed over files."""
    changes = diff.weights.changes
    lines = [f"weights: {changed(change)}" for change in changes[:_NOTED]]
    if len(changes) > _NOTED:
        lines.append("weights: and more tensors; --format json lists them")
    return [*diff.notes, *lines]


def _weights_told(diff: Diff, files: Sequence[FileDiff]) -> str | None:
    """One sentence about all weights, where they are the same or were cut into other files."""
    verdicts = {file.verdict for file in files if file.role == "weights"} - {"moved", "equivalent"}
    if not verdicts:
        return None
    if diff.weights.summary is not None:
        return f"weights: {diff.weights.summary}"
    if not diff.weights.equal:
        return None
    elsewhere = ", in other files" if verdicts & _ALONE else ""
    return f"weights: the same tensors on both sides{elsewhere}"


def warnings(diff: Diff) -> list[tuple[str | None, str]]:
    """What readers warn of beyond the verdicts (code, pickles, broken indexes): (path, sentence)."""
    return [
        (finding.get("path"), str(finding.get("what", "")) + _where(finding))
        for finding in diff.findings
        if finding.get("rule") not in _DEMANDS
    ]


def told(file: FileDiff) -> str:
    """One file's story in one line: what explains it and why it matters, else why it is so."""
    if file.verdict == "moved":
        return f"moved here from {file.moved_from}"
    if file.verdict in _ALONE:
        side = file.left or file.right
        where = "missing on the right" if file.verdict == "leftOnly" else "only on the right"
        sized = f"{where} ({size_text(side.size)})" if side else where
        return f"{sized}: {file.summary}" if file.summary else sized
    if file.tensors:
        return _with_names(file)
    if not _explained(file):
        damage = [_brief(change) for change in file.changes[:1]]
        return (
            "; ".join(filter(None, (summarised(file), *damage)))
            or file.reason
            or WORDS[file.verdict]
        )
    if all(_is_passage(change) for change in file.changes):
        return summarised(file) or file.reason or WORDS[file.verdict]
    # "and 1 more" would take the place of the one.
    room = _FEW + (len(file.changes) + file.more_changes == _FEW + 1)
    few = [_brief(change) for change in file.changes[:room]]
    left_out = len(file.changes) - len(few) + file.more_changes
    few += [f"and {plural(left_out, 'more change', 'more changes')}"] if left_out else []
    return _because("; ".join(few), _why(file))


def summarised(file: FileDiff) -> str | None:
    """What a reader found in one line, with the reason of the gravest change."""
    summary = file.summary or (tensors_told(file.tensors) if file.tensors else None)
    return None if summary is None else _because(summary, _why(file))


def story(file: FileDiff, limit: int) -> list[str]:
    """One file's story in some lines, saying nothing twice: at most ``limit`` single changes.

    A summary comes first where the changes below it do not say it all. The verdict is not
    repeated: it stands beside.
    """
    side = file.left or file.right
    if file.verdict in _ALONE and side is not None:
        return [": ".join(filter(None, (size_text(side.size), file.summary)))]
    if not file.changes:
        return [told(file)]
    all_shown = len(file.changes) <= limit and not file.more_changes
    if all_shown and not file.tensors and (_explained(file) or not file.summary):
        return details(file, limit, reasons=True)
    summary = summarised(file)
    return [*([summary] if summary else []), *details(file, limit)]


def details(file: FileDiff, limit: int, *, reasons: bool = False) -> list[str]:
    """The single changes of a file, at most ``limit``, then how many there are besides.

    Passages of text take a line for each of their lines. A change says its impact where
    that is not the file's, and with ``reasons`` why, each reason once.
    """
    lines: list[str] = []
    said: set[str] = set()
    for change in file.changes[:limit]:
        first, *rest = _passage(change) or [changed(change)]
        notes: list[str | None] = []
        if change.impact != file.impact:
            notes.append(change.impact)
        if reasons and change.reason and change.reason not in said:
            said.add(change.reason)
            notes.append(change.reason)
        note = ": ".join(filter(None, notes))
        head = f"{_because(first.removesuffix(':'), note)}:" if first.endswith(":") else ""
        lines += [head or _because(first, note), *rest]
    left_out = max(0, len(file.changes) - limit) + file.more_changes
    if left_out > 0:
        lines.append(f"and {plural(left_out, 'more change', 'more changes')}")
    return lines


def changed(change: Change) -> str:
    """One change: ``/torch_dtype: "float16" -> "bfloat16"``."""
    left, right = change.left, change.right
    text = change.at or ("" if left is right is msgspec.UNSET else "(whole)")
    if left is right is msgspec.UNSET and change.what and text in change.what:
        return change.what
    if left is not msgspec.UNSET and right is not msgspec.UNSET:
        text += f": {_value(left)} -> {_value(right)}"
    elif right is not msgspec.UNSET:
        text += f": added {_value(right)}"
    elif left is not msgspec.UNSET:
        text += f": removed {_value(left)}"
    return ": ".join(part for part in (text, change.what) if part)


def _explained(file: FileDiff) -> bool:
    """Whether a reader found single changes; which bytes differ is known without one."""
    return any(not change.at.startswith("bytes ") for change in file.changes)


def _brief(change: Change) -> str:
    """One change in few words."""
    if _is_passage(change):
        return f"{change.at}: {change.what}" if change.what else f"{change.at} changed"
    text = changed(change)
    if len(text) <= _BRIEF:
        return text
    at = change.at or "(whole)"
    if msgspec.UNSET is not change.left and msgspec.UNSET is not change.right:
        # Two values say more than what was noted about them.
        values = changed(msgspec.structs.replace(change, what=None))
        if len(values) <= _BRIEF:
            return values
    if not change.what:
        return shorten(f"{at} changed", _BRIEF)
    return shorten(f"{change.at}: {change.what}" if change.at else change.what, _BRIEF)


def _why(file: FileDiff) -> str | None:
    """The reason of the gravest change; changed tensors need none."""
    tensors = file.tensors
    touched = tensors and (
        tensors.changed or tensors.left_only or tensors.right_only or tensors.unknown
    )
    if touched and file.impact == "behaviour":
        return None
    return next((c.reason for c in file.changes if c.impact == file.impact and c.reason), None)


def _because(text: str, why: str | None) -> str:
    return f"{text} ({why})" if why else text


def _with_names(file: FileDiff) -> str:
    """The summary of a weight file with the first changed tensors' names."""
    summary = summarised(file) or ""
    names = file.tensors.changed if file.tensors and file.summary else []
    few = ", ".join(shorten(name, 60) for name in names[:_FEW])
    few += ", …" if len(names) > _FEW else ""
    found = _TALLY.search(summary)
    end = found.end() if found else len(summary)
    return _because(summary[:end], few) + summary[end:]


def tensors_told(tensors: TensorDiff) -> str:
    """``147 tensors the same, 1 changed (h.0.attn.c_attn.weight), metadata changed``."""
    parts = [
        f"{tensors.same} tensors the same" if tensors.same else "",
        f"{tensors.unknown} tensors not comparable" if tensors.unknown else "",
        _named(tensors.changed, "changed"),
        _named(tensors.left_only, "only left"),
        _named(tensors.right_only, "only right"),
        "metadata changed" if tensors.metadata == "changed" else "",
    ]
    return ", ".join(part for part in parts if part)


def based(file: FileDiff) -> str:
    """What the verdict rests on: ``sha256 measured/stored``."""
    if file.basis is not None:
        return f"{file.basis.algorithm} {file.basis.left}/{file.basis.right}"
    side = file.left or file.right
    return side.evidence if side else ""


def placed(side: Side) -> str:
    """Where a side is: source and revision."""
    return f"{side.source}@{side.revision}" if side.revision else side.source


def signed(side: Side) -> str:
    """A side's signature in words; anything but a verified one is said loudly."""
    if side.signature == "verified":
        return "signed by " + (", ".join(side.signed_by) or "a trusted key")
    return {
        "untrusted": "SIGNED BY A KEY THAT DOES NOT COUNT HERE",
        "unsigned": "NOT SIGNED",
        "invalid": "SIGNATURE DOES NOT VERIFY",
    }[side.signature]


def title(diff: Diff) -> str:
    """The model's name, for suites and headings."""
    return diff.left.name or diff.right.name or diff.left.source


def hints(files: Sequence[FileDiff]) -> list[str]:
    """What to do next, each action once, at most three."""
    return list(dict.fromkeys(file.hint for file in files if file.hint))[:3]


def outcome(file: FileDiff, diff: Diff) -> str:
    """One file's part in the result: ``pass``, ``fail`` or ``unknown``.

    Findings of the comparison say where a demand (``--strict``, ``--min-impact``) decided.
    """
    decided = _decided(diff.findings).get(file.path)
    if decided is not None:
        return decided
    if file.verdict == "unverifiable":
        return "unknown"
    return "pass" if file.verdict in {"identical", "equivalent"} else "fail"


def outcomes(diff: Diff) -> dict[str, str]:
    """:func:`outcome` of every listed file at once."""
    decided = _decided(diff.findings)
    plain = msgspec.structs.replace(diff, findings=[])
    return {file.path: decided.get(file.path) or outcome(file, plain) for file in diff.files}


def _decided(findings: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for finding in findings:
        path, result = finding.get("path"), finding.get("result")
        if isinstance(path, str) and isinstance(result, str) and found.get(path) != "fail":
            found[path] = result
    return found


def _weight(file: FileDiff) -> tuple[int, int, int, bytes]:
    """Most important first: impact, verdict, weights before others, path."""
    return (
        -IMPACTS.index(file.impact),
        _WORST.index(file.verdict),
        0 if file.role == "weights" else 1,
        file.path.encode(),
    )


def _where(finding: dict[str, Any]) -> str:
    side = finding.get("side")
    return f" (on {'both sides' if side == 'both' else f'the {side}'})" if side else ""


def plural(count: int, one: str, many: str) -> str:
    """A number with its word: ``1 file differs``; nothing for none."""
    return f"{count} {one if count == 1 else many}" if count else ""


def _named(names: list[str], what: str) -> str:
    if not names:
        return ""
    shown = ", ".join(shorten(name, 60) for name in names[:3]) + (" …" if len(names) > 3 else "")
    return f"{len(names)} {what} ({shown})"


def _is_passage(change: Change) -> bool:
    """Whether a change is about lines of a text; of one inside JSON, behind its pointer."""
    return _PASSAGES.search(change.at) is not None


def _passage(change: Change) -> list[str]:
    """A changed passage of text as removed and added lines; nothing for other changes."""
    if not _is_passage(change):
        return []
    lines = [f"{change.at}: {change.what}" if change.what else f"{change.at}:"]
    for sign, value in (("-", change.left), ("+", change.right)):
        if isinstance(value, str):
            parts = value.split("\n")
            lines += [f"  {sign} {shorten(part, _PASSAGE)}" for part in parts[:_PASSAGE_LINES]]
            if len(parts) > _PASSAGE_LINES:
                lines.append(f"  {sign} …")
    return lines


def _value(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else msgspec.json.encode(value).decode()
    return shorten(text, _VALUE)
