"""One self-contained page: no scripts, no fetches, its own style, safe to open from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import ClassVar, Final

from manifestd.display import size_text
from manifestd.model.change import Diff, FileDiff, FileSide, Side
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import html
from manifestd.reports.telling import (
    RESULTS,
    WORDS,
    based,
    details,
    headline,
    highlights,
    hints,
    outcomes,
    placed,
    signed,
    title,
    told,
    warnings,
)

STYLE: Final = """
:root{color-scheme:light dark;--line:#8884}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:96rem;padding:0 1rem}
h1{font-size:1.3rem;margin-bottom:.2rem}
.tag{display:inline-block;padding:0 .5em;border-radius:.3em;color:#fff;font-weight:600}
.pass{background:#1a7f37}.fail{background:#b3261e}.unknown{background:#8a6100}.error{background:#b3261e}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line)}
th{white-space:nowrap}
code,.path{font-family:ui-monospace,monospace;font-size:.92em;overflow-wrap:anywhere;unicode-bidi:isolate}
.path{min-width:11rem;max-width:24rem}
td{overflow-wrap:anywhere}
td:nth-child(-n+2),td:last-child{overflow-wrap:normal}
.tag,.size{white-space:nowrap}
ul.changes code{white-space:pre-wrap}
ul.changes{margin:.2rem 0;padding-left:1.2rem}
.quiet{opacity:.75}
"""

_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
_DETAILS: Final = 50


class HtmlReport(Report):
    """For auditors: every file with its verdict, evidence on both sides, and what to do next."""

    name: ClassVar[str] = "html"
    media_type: ClassVar[str] = "text/html"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The page. Its content policy allows this style and nothing else."""
        return "\n".join(_page(diff, options)) + "\n"


def _page(diff: Diff, options: ReportOptions) -> Iterator[str]:
    name = html(title(diff))
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{RESULTS[diff.result]}: {name}</title>"
    yield f"<style>{STYLE}</style></head><body>"
    yield f"<h1>{_tag(diff.result, RESULTS[diff.result])} {name}</h1>"
    yield f"<p>{html(headline(diff))}</p>"
    yield "<table><thead><tr><th></th><th>Source</th><th>Snapshot</th><th>Taken</th>"
    yield "<th>Signature</th></tr></thead><tbody>"
    yield from (_side("Left", diff.left), _side("Right", diff.right))
    yield "</tbody></table>"
    yield from _first(diff)
    files = listed(diff, options)
    if files:
        yield from _files(files, outcomes(diff))
    yield '<p class="quiet">Written by manifestd. Evidence, strongest first: measured, reused,'
    yield "stored, declared, none. Equality is as good as the weaker side.</p>"
    yield "</body></html>"


def _first(diff: Diff) -> Iterator[str]:
    first = highlights(diff)
    if first:
        yield "<h2>What matters first</h2><ol>"
        for path, sentence in first:
            name = f"<code>{html(path)}</code>: " if path is not None else ""
            yield f"<li>{name}{html(sentence)}</li>"
        yield "</ol>"
    said = [
        f"Warning: {path}: {sentence}" if path is not None else f"Warning: {sentence}"
        for path, sentence in warnings(diff)
    ]
    said += [f"Note: {note}" for note in diff.notes]
    said += [f"Next: {hint}" for hint in hints(diff.files)]
    if said:
        yield "<ul>" + "".join(f"<li>{html(text)}</li>" for text in said) + "</ul>"


def _side(label: str, side: Side) -> str:
    incomplete = "" if side.complete else " (incomplete)"
    return (
        f"<tr><th>{label}</th><td><code>{html(placed(side))}</code></td>"
        f"<td><code>{html(side.snapshot)}</code></td>"
        f"<td>{html(side.captured_at[:19])}Z{incomplete}</td><td>{html(signed(side))}</td></tr>"
    )


def _files(files: list[FileDiff], results: dict[str, str]) -> Iterator[str]:
    yield f"<h2>Files ({len(files)})</h2>"
    yield "<table><thead><tr><th>Verdict</th><th>Impact</th><th>File</th><th>What</th>"
    yield "<th>Left</th><th>Right</th><th>Known by</th></tr></thead><tbody>"
    for file in files:
        what = "" if file.verdict == "identical" else html(told(file))
        lines = details(file, _DETAILS)
        if lines:
            items = "".join(f"<li><code>{html(line)}</code></li>" for line in lines)
            what += (
                f"<details><summary>{len(file.changes) + file.more_changes} changes</summary>"
                f'<ul class="changes">{items}</ul></details>'
            )
        if file.hint:
            what += f'<p class="quiet">{html(file.hint)}</p>'
        yield (
            f"<tr><td>{_tag(results[file.path], WORDS[file.verdict])}</td><td>{file.impact}</td>"
            f'<td class="path">{html(file.path)}</td><td>{what}{_digests(file)}</td>'
            f'<td class="size">{_size(file.left)}</td><td class="size">{_size(file.right)}</td>'
            f"<td>{html(based(file))}</td></tr>"
        )
    yield "</tbody></table>"


def _size(side: FileSide | None) -> str:
    return size_text(side.size) if side is not None else "missing"


def _digests(file: FileDiff) -> str:
    """Every digest of both sides, folded away."""
    items = "".join(
        f"<li><code>{label} {html(name)}:{html(value)}</code></li>"
        for label, side in (("left ", file.left), ("right", file.right))
        if side is not None
        for name, value in sorted(side.digests.items())
    )
    if not items:
        return ""
    return f'<details><summary>digests</summary><ul class="changes">{items}</ul></details>'


def _tag(kind: str, text: str) -> str:
    return f'<span class="tag {kind}">{html(text)}</span>'
