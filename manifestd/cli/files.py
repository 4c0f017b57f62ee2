"""``files``: every file of a snapshot with its digest and how it is known."""

from __future__ import annotations

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json, table


@click.command(epilog="Example: manifestd files s3://models/gpt2/. Exit codes: 0, 2, 3, 4.")
@click.argument("reference")
@FORMAT
@click.pass_obj
def files(context: Context, reference: str, form: str) -> int:
    """List the files of a snapshot."""
    from manifestd.model.files import FileList, listed

    with context.gathered(reference) as (store, (known,)):
        digest = store.snapshots.resolve(known)
        found = list(store.trees.files(store.snapshots.load(digest)))
    if form == "json":
        emit_json(FileList(snapshot=digest, files=[listed(file) for file in found]))
        return 0
    lines = [
        (file.sha256 or "unknown", file.grade(), str(file.size), file.seen.role, file.path)
        for file in found
    ]
    emit(table(lines, ("SHA256", "EVIDENCE", "BYTES", "ROLE", "PATH")))
    return 0
