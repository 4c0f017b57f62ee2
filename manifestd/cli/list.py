"""``list``: the snapshots in the store, newest first."""

from __future__ import annotations

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT, text
from manifestd.cli.output import emit, emit_json, table
from manifestd.display import size_text
from manifestd.model.digest import short


@click.command(
    "list", epilog="Example: manifestd list --source s3://models/gpt2/. Exit codes: 0, 3."
)
@click.option("--source", help="Only snapshots of this place.")
@click.option("--name", type=text, help="Only snapshots filed under this name.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@FORMAT
@click.pass_obj
def list_(
    context: Context, source: str | None, name: str | None, limit: int | None, form: str
) -> int:
    """List the snapshots in the store, newest first."""
    from manifestd.model.reference import parse_reference

    place = parse_reference(source).place() if source else None
    with context.open_store() as store:
        rows = store.snapshots.list(source=place, name=name, limit=limit)
    if form == "json":
        emit_json({"schema": "manifestd.list/v1", "snapshots": rows})
        return 0
    header = ("SNAPSHOT", "MANIFEST", "CAPTURED", "FILES", "SIZE", "SIGNED", "NAME", "SOURCE")
    lines = [
        (
            short(row.digest),
            short(row.manifest) if row.manifest else "incomplete",
            row.captured_at[:19] + "Z",
            str(row.files),
            size_text(row.bytes),
            "yes" if row.signed else "no",
            row.name,
            row.source + (f"@{row.requested}" if row.requested else ""),
        )
        for row in rows
    ]
    emit(table(lines, header) if lines else "The store holds no such snapshot.\n")
    return 0
