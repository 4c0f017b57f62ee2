"""A static dashboard of the stored runs: an index, and a page for each model. No scripts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from manifestd import canonical
from manifestd.config import Config
from manifestd.display import printable
from manifestd.errors import AccessDeniedError, UsageError
from manifestd.model.change import Result
from manifestd.model.run import RESULTS, RunModel, Status, StatusModel
from manifestd.reports.escape import html
from manifestd.reports.html_page import page, tag
from manifestd.reports.html_run import section
from manifestd.reports.run_telling import model_line, next_steps
from manifestd.reports.telling import RESULTS as WORDS
from manifestd.store import Store
from manifestd.workflows.status import OFF_LIST, status_of

HISTORY: Final = 30
"""Runs of a model that its page lists."""

INVENTORY: Final = "manifestd-site.json"
"""Names the files of the last writing, so that the next can remove what is no more."""

_FOLDER: Final = "models"
_OURS: Final = re.compile(r"models/[a-z0-9._-]{1,80}-[0-9a-f]{12}\.html\Z")
_SIGNS: Final[dict[Result, str]] = {"pass": "●", "fail": "✕", "error": "!", "unknown": "?"}


class _Inventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    files: list[str]


class Written(NamedTuple):
    """What came of it: how many models have a page, and how many old pages were removed."""

    models: int
    removed: int


def write_site(store: Store, target: Path, now: datetime, config: Config | None = None) -> Written:
    """Write the dashboard into a directory, which is made; each file appears whole.

    Args:
        store: Opened for reading.
        target: A directory that is new, empty, or was written by this.
        now: Ages are counted from here.
        config: Says which models are on the list; None: all are.

    Raises:
        UsageError: The directory has other files and no dashboard.
        AccessDeniedError: It cannot be written.
        TamperedError: A stored result is damaged.
    """
    before = _before(target)
    status = status_of(store, now, config=config)
    latest = store.runs.latest()
    files, lines = ["index.html"], {}
    try:
        (target / _FOLDER).mkdir(parents=True, exist_ok=True)
        for model in status.models:
            name = page_name(model.name)
            document = store.runs.document(latest[model.name])
            history = list(_history(store, model.name))
            _put(target / name, _model_page(model, document, history))
            files.append(name)
            lines[model.name] = model_line(document)
        _put(target / "index.html", _index(status, lines))
        inventory = _Inventory(schema="manifestd.site/v1", files=files)
        _put(target / INVENTORY, msgspec.json.encode(inventory).decode() + "\n")
        gone = [name for name in before if name not in files and _OURS.match(name)]
        for name in gone:
            (target / name).unlink(missing_ok=True)
    except OSError as error:
        raise AccessDeniedError(
            f"{printable(str(target))} cannot be written: {error.strerror}"
        ) from error
    return Written(len(status.models), len(gone))


def page_name(model: str) -> str:
    """Where a model's page is: readable, the same every time, and no two models share it."""
    readable = re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-.")[:80].strip("-.") or "model"
    return f"{_FOLDER}/{readable}-{hashlib.sha256(model.encode()).hexdigest()[:12]}.html"


def _before(target: Path) -> list[str]:
    """Files of the last writing."""
    try:
        data = (target / INVENTORY).read_bytes()
    except FileNotFoundError:
        if target.is_dir() and any(target.iterdir()):
            raise UsageError(
                f"{printable(str(target))} has files and is no dashboard of ours",
                hint="name a new directory",
            ) from None
        return []
    except OSError as error:
        raise UsageError(f"{printable(str(target))} is no directory to write to") from error
    try:
        return msgspec.json.decode(data, type=canonical.prepared(_Inventory)).files
    except msgspec.DecodeError:
        return []


def _put(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _history(store: Store, name: str) -> Iterator[tuple[str, RunModel]]:
    """Run id and result of the model's last runs, newest first."""
    for told in store.runs.history(name, HISTORY):
        run_id, _ = store.runs.started(told.run)
        yield run_id, store.runs.document(told)


def _index(status: Status, lines: Mapping[str, str]) -> str:
    counts = msgspec.to_builtins(status.counts)
    there = counts | {"error": counts["error"] + len(status.errors)}
    worst: Result = next((result for result in RESULTS if there[result]), "pass")
    total = sum(counts.values())
    return page(
        f"manifestd: {counts['pass']} of {total} models pass", _index_body(status, lines, worst)
    )


def _index_body(status: Status, lines: Mapping[str, str], worst: Result) -> Iterator[str]:
    counts = msgspec.to_builtins(status.counts)
    total = sum(counts.values())
    yield f"<h1>{tag(worst, WORDS[worst])} {counts['pass']} of {total} models pass</h1>"
    last = f", last run {html(status.last_run)}" if status.last_run else ""
    yield f'<p class="quiet">As of {html(status.at[:19])}Z{last}</p>'
    for error in status.errors:
        why = f": {error.why}" if error.why else ""
        hint = f" <em>{html(error.hint)}</em>" if error.hint else ""
        yield f"<p>{tag('error', 'Models may be missing')} {html(error.what + why)}{hint}</p>"
    if not status.models:
        yield "<p>No model was ever run.</p>"
        return
    yield '<table><thead><tr><th>Result</th><th>Model</th><th class="what">What</th><th>Looked at</th>'
    yield "<th>Last pass</th><th>Known by</th><th>Trend</th></tr></thead><tbody>"
    order = {result: place for place, result in enumerate(RESULTS)}
    for model in sorted(status.models, key=lambda it: (not it.listed, order[it.result])):
        passed = f"{html(model.last_pass[:19])}Z" if model.last_pass else "never"
        yield (
            f"<tr><td>{tag(model.result, WORDS[model.result])}</td>"
            f'<td class="path"><a href="{page_name(model.name)}">{html(model.name)}</a>{_mark(model)}</td>'
            f'<td>{html(lines[model.name])}</td><td class="when">{html(model.at[:19])}Z</td>'
            f'<td class="when">{passed}</td>'
            f"<td>{html(model.evidence or 'nothing')}</td>"
            f"<td>{_trend(model)}</td></tr>"
        )
    yield "</tbody></table>"
    yield '<p class="quiet">Trend: the last runs, the newest on the right: ● pass, ✕ fail,'
    yield "! error, ? undecided.</p>"
    if not all(model.listed for model in status.models):
        yield f'<p class="quiet">Off the list: {OFF_LIST}, and not counted.</p>'


def _mark(model: StatusModel) -> str:
    return "" if model.listed else ' <span class="quiet">(off the list)</span>'


def _trend(model: StatusModel) -> str:
    return f"<code>{''.join(_SIGNS[result] for result in model.trend)}</code>"


def _model_page(
    status: StatusModel, document: RunModel, history: list[tuple[str, RunModel]]
) -> str:
    return page(f"{WORDS[status.result]}: {status.name}", _model_body(status, document, history))


def _model_body(
    status: StatusModel, document: RunModel, history: list[tuple[str, RunModel]]
) -> Iterator[str]:
    yield '<p><a href="../index.html">All models</a></p>'
    passed = f"last pass {html(status.last_pass[:19])}Z" if status.last_pass else "never passed"
    yield f'<p class="quiet">Run {html(status.run)}, {passed}</p>'
    if not status.listed:
        yield f'<p class="quiet">Off the list: {OFF_LIST}, and not counted.</p>'
    yield from section(document)
    yield "<h2>Last runs</h2><table><thead><tr><th>Result</th><th>Run</th><th>What</th>"
    yield "<th>First thing to do</th></tr></thead><tbody>"
    for run_id, model in history:
        first = next(iter(next_steps(model)), "")
        yield (
            f"<tr><td>{tag(model.result, WORDS[model.result])}</td><td>{html(run_id)}</td>"
            f"<td>{html(model_line(model))}</td><td>{html(first)}</td></tr>"
        )
    yield "</tbody></table>"
