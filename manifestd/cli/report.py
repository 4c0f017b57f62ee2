"""``report``: a static dashboard of the stored runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from manifestd.cli.context import READ_ONCE, Context
from manifestd.cli.output import emit
from manifestd.display import printable


@click.group()
def report() -> None:
    """Show the stored runs to people who have no manifestd."""


@report.command(
    epilog="Example: manifestd report site -o public. "
    "Exit codes: 0 written, 2 the directory is somebody else's, 3 no store or not writable, "
    "4 the store is damaged."
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="The directory: new, empty, or a dashboard to bring up to date.",
)  # fmt: skip
@click.pass_obj
def site(context: Context, output: Path) -> int:
    """Write a static dashboard: an index of all models and a page for each.

    The pages are self-contained, without scripts, and may be served by any web
    server or opened from the disk. Reads the store only; run it after `manifestd run`.
    """
    from manifestd.workflows.site import write_site

    with context.open_store(cache=READ_ONCE) as store:
        written = write_site(store, output, datetime.now(UTC), context.config)
    removed = f", removed {written.removed} old ones" if written.removed else ""
    emit(f"Wrote {printable(str(output / 'index.html'))}, {written.models} models{removed}.\n")
    return 0
