"""``import``: evidence that came from elsewhere, brought into the store."""

from __future__ import annotations

from pathlib import Path

import click

from manifestd.cli.context import Context
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable
from manifestd.errors import UsageError


@click.command(
    "import", epilog="Example: manifestd import gpt2.bundle. Exit codes: 0, 2, 4 (damaged)."
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def import_(context: Context, file: Path, form: str) -> int:
    """Bring a bundle into the store; what it carries is checked, its keys are not trusted."""
    from manifestd.workflows.bundle import import_bundle, is_bundle

    if is_bundle(str(file)) is None:
        raise UsageError(
            f"{file} is not a manifestd bundle", hint="make one: manifestd export --as bundle"
        )
    with context.open_store(write=True) as store:
        imported = import_bundle(store, file)
    if form == "json":
        emit_json({
            "schema": "manifestd.import/v1",
            "snapshots": imported.snapshots,
            "new": imported.new,
            "suggestedKeys": imported.keys,
        })  # fmt: skip
        return 0
    for digest in imported.snapshots:
        emit(f"{digest}\n")
    emit(f"{imported.new} of {len(imported.snapshots)} snapshots are new\n")
    for key in imported.keys:
        emit(f"suggested key of {printable(key.person)}; trust it only if you know whose it is\n")
    return 0
