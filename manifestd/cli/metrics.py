"""``metrics``: what Prometheus reads of the stored runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from manifestd.cli.context import READ_ONCE, Context
from manifestd.cli.output import emit_lines


@click.command(
    epilog="Example: manifestd metrics -o /var/lib/node_exporter/manifestd.prom. "
    "Exit codes: 0 written, 2 wrong usage, 3 no store or not writable, 4 the store is damaged."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="Write to a file, which appears whole or not at all (default: stdout).",
)  # fmt: skip
@click.pass_obj
def metrics(context: Context, output: Path | None) -> int:
    """Write the metrics of the stored runs as a Prometheus text file.

    For every model: its result, the age of its last good audit, bytes read and
    reused, duration. Reads the store only; run it after `manifestd run`.
    """
    from manifestd.workflows.metrics import metrics_of

    with context.open_store(cache=READ_ONCE) as store:
        emit_lines(metrics_of(store, datetime.now(UTC), context.config), output)
    return 0
