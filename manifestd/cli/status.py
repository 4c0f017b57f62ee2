"""``status``: how every model stands that was ever run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from manifestd.cli.context import READ_ONCE, Context
from manifestd.cli.output import emit, emit_json, table
from manifestd.display import printable

if TYPE_CHECKING:
    from manifestd.model.failure import Failure
    from manifestd.model.run import Status, StatusModel

_SIGNS: Final = {"pass": "+", "fail": "x", "unknown": "?", "error": "!"}


@click.command(
    epilog="Example: manifestd status --check. "
    "Exit codes: 0 shown, 3 no store yet; with --check that of a run with these results."
)
@click.option("--check", is_flag=True, help="End with the exit code that these results deserve.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def status(context: Context, /, form: str, *, check: bool) -> int:
    """Show each model's last result, its age, its evidence and how it went lately.

    The trend shows the last runs, the newest on the right: + pass, x fail,
    ? unknown, ! error.
    """
    from manifestd.workflows.status import status_of

    with context.open_store(cache=READ_ONCE) as store:
        found = status_of(store, datetime.now(UTC), config=context.config)
    if form == "json":
        emit_json(found)
        return found.exit_code if check else 0
    if not found.models:
        emit("No model was ever run: see `manifestd run --help`.\n")
    else:
        rows = [
            (
                model.name,
                model.result,
                _age(model.age_seconds),
                _since(model.last_pass, found.at),
                model.evidence or "-",
                "".join(_SIGNS[result] for result in model.trend),
                _what(model),
            )
            for model in found.models
        ]
        emit(table(rows, ("MODEL", "RESULT", "AGE", "LAST PASS", "EVIDENCE", "TREND", "WHAT")))
        emit(_off_list_text(found))
    emit("".join(map(_error_text, found.errors)))
    return found.exit_code if check else 0


def _what(model: StatusModel) -> str:
    """What is wrong with a model, and before it whether that matters any more."""
    if model.listed:
        return model.what or ""
    return f"off the list: {model.what}" if model.what else "off the list"


def _off_list_text(found: Status) -> str:
    """What that word in the table means, where it stands there."""
    from manifestd.workflows.status import OFF_LIST

    count = sum(not model.listed for model in found.models)
    return f"Off the list ({OFF_LIST}), and not counted: {count}.\n" if count else ""


def _error_text(error: Failure) -> str:
    """Why the table may be shorter than the company's list."""
    why = f": {error.why}" if error.why else ""
    hint = f"  hint: {printable(error.hint)}\n" if error.hint else ""
    return f"Models may be MISSING: {printable(error.what + why)}\n{hint}"


def _since(moment: str | None, now: str) -> str:
    if moment is None:
        return "never"
    span = datetime.fromisoformat(now) - datetime.fromisoformat(moment)
    return _age(int(span.total_seconds()))


def _age(seconds: int) -> str:
    """A span for people: ``45 s``, ``3 h``, ``12 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{max(seconds, 0)} s"
