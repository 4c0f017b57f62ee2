"""What every page has: a head that forbids everything but its own style, tags, tables of files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from manifestd.display import size_text
from manifestd.model.change import FileDiff, FileSide
from manifestd.reports.escape import html
from manifestd.reports.telling import WORDS, based, details, told

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
.what{min-width:min(15rem,30vw)}
td{overflow-wrap:anywhere}
td:nth-child(-n+2),td:last-child{overflow-wrap:normal}
.tag,.size,.when{white-space:nowrap}
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


def page(title: str, body: Iterable[str]) -> str:
    """The whole document. Its content policy allows its style and nothing else.

    Args:
        title: Not escaped yet.
        body: Lines of HTML.
    """
    return "".join(pieces(title, (f"{line}\n" for line in body)))


def pieces(title: str, body: Iterable[str]) -> Iterator[str]:
    """As :func:`page`, piece by piece.

    Args:
        title: Not escaped yet.
        body: HTML, each piece whole lines with their ends.
    """
    yield (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html(title)}</title>\n"
        f"<style>{STYLE}</style></head><body>\n"
    )
    yield from body
    yield (
        '<p class="quiet">Written by manifestd. Evidence, strongest first: measured, reused,\n'
        "stored, declared, none. Equality is as good as the weaker side.</p>\n"
        "</body></html>\n"
    )


def file_table(files: list[FileDiff], results: Mapping[str, str]) -> Iterator[str]:
    """A row for each file: verdict, impact, story, sizes, basis; details folded away."""
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
            f"<tr><td>{tag(results[file.path], WORDS[file.verdict])}</td><td>{file.impact}</td>"
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


def tag(kind: str, text: str) -> str:
    """A coloured word; ``kind`` is a result."""
    return f'<span class="tag {kind}">{html(text)}</span>'
