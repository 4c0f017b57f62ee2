"""``lint``: what is odd about the store as a whole. Offline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable

if TYPE_CHECKING:
    from manifestd.model.finding import LintReport


@click.command(
    epilog="Example: manifestd lint --min-size 100000000. Exit codes: 0 nothing is odd, "
    "1 findings, 3 there is no store, 4 the store was tampered with."
)
@click.option(
    "--min-size", type=click.IntRange(0), default=1024 * 1024, show_default=True, metavar="BYTES",
    help="Smallest weight file that may not stand under two names.",
)  # fmt: skip
@click.option("--history", is_flag=True, help="Every snapshot, not the latest of each place.")
@FORMAT
@click.pass_obj
def lint(context: Context, min_size: int, history: bool, form: str) -> int:
    """Look for anomalies: copies under two names, orphan shards, models not mirrored, names that clash."""
    from manifestd.workflows.lint import lint_store

    config = context.config
    with context.open_store() as store:
        report = lint_store(store, config, min_size=min_size, history=history)
    if form == "json":
        emit_json(report)
    else:
        emit("".join(f"{line}\n" for line in _lines(report)))
    return 1 if report.findings else 0


def _lines(report: LintReport) -> Iterator[str]:
    for finding in report.findings:
        where = printable(finding.source) + " " if finding.snapshot and finding.source else ""
        where += f"{printable(finding.path)} " if finding.path else ""
        where = where.rstrip() + ": " if where else ""
        yield f"{finding.rule}: {where}{printable(finding.what)}"
        for path in finding.facts.get("paths", ())[:5]:
            yield f"  {printable(path)}"
        for place in finding.facts.get("places", ())[:5]:
            yield f"  {printable(place['source'])} {printable(place['path'])}"
        if finding.hint:
            yield f"  hint: {printable(finding.hint)}"
    count = len(report.findings)
    found = "Nothing is odd" if not count else f"{count} finding{'s' * (count > 1)}"
    yield f"{found} in {report.snapshots} snapshot{'s' * (report.snapshots != 1)}."
