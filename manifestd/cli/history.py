"""``history``: the release ledger, made from the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.history_log_text import who_cell
from manifestd.cli.output import emit, emit_json, table
from manifestd.display import printable

if TYPE_CHECKING:
    from manifestd.model.history import Ledger, Release


@click.command(
    epilog="Example: manifestd history --as markdown -o RELEASES.md. Exit codes: 0, 2, 3, 4."
)
@click.argument("name", required=False)
@click.option(
    "--as", "form", type=click.Choice(["text", "markdown", "json"]), default="text",
    show_default=True, help="How it looks.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file."
)
@click.pass_obj
def history(context: Context, name: str | None, form: str, output: Path | None) -> None:
    """Write the release ledger: every move of every tag, or of those of NAME, oldest first.

    Model, version, digest, approvers, date and verdict, from signed and logged
    statements; nobody keeps it by hand.
    """
    from manifestd.workflows.ledger import ledger

    trust = context.trust()
    with context.open_store() as store:
        found = ledger(store, trust, name=name)
    if form == "json":
        emit_json(found, output)
    elif form == "markdown":
        emit(_markdown(found), output)
    else:
        emit(_text(found, name), output)


def _text(found: Ledger, name: str | None) -> str:
    header = ("DATE", "MODEL", "VERSION", "DIGEST", "BY", "APPROVED BY", "VERDICT")
    lines = [_cells(release) for release in found.releases]
    whose = f" of {printable(name)}" if name is not None else ""
    return table(lines, header) if lines else f"Nothing was released: no tag{whose} was ever set.\n"


def _markdown(found: Ledger) -> str:
    from manifestd.reports.escape import markdown, markdown_name

    lines = [
        "| date | model | version | digest | by | approved by | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for release in found.releases:
        date, model, version, digest, *rest = _cells(release)
        names = [markdown_name(text) for text in (model, version, digest)]
        lines.append("| " + " | ".join([date, *names, *map(markdown, rest)]) + " |")
    return "\n".join(lines) + "\n"


def _cells(release: Release) -> tuple[str, ...]:
    verdict = "deleted" if release.action == "deleted" else release.verdict
    return (
        release.at[:19] + "Z",
        release.model,
        release.version,
        release.manifest,
        who_cell(release.by, release.signature),
        ", ".join(release.approvers) or "-",
        verdict or "-",
    )
