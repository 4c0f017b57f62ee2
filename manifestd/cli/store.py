"""``store``: check, rebuild and back up the store."""

from __future__ import annotations

from pathlib import Path

import click

from manifestd.cli.context import Context
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable, size_text
from manifestd.redact import redact

_FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")


@click.group()
def store() -> None:
    """Check, rebuild and back up the store."""


@store.command(epilog="Example: manifestd store check. Exit codes: 0 sound, 3 no store, 4 damaged.")
@_FORMAT
@click.pass_obj
def check(context: Context, form: str) -> int:
    """Read the whole store and name everything in it that does not verify.

    Checks every byte against its digest, every record against its file list,
    the index against the records. Signatures are `manifestd verify`'s work.
    """
    from manifestd.store.check import check_store

    problems = check_store(context.store_path)
    if form == "json":
        emit_json(
            {
                "schema": "manifestd.store-check/v1",
                "store": str(context.store_path),
                "sound": not problems,
                "problems": problems,
            }
        )
        return 4 if problems else 0
    for problem in problems:
        hint = f" ({problem.hint})" if problem.hint else ""
        emit(printable(redact(f"{problem.code}: {problem.what}{hint}")) + "\n")
    if not problems:
        emit(f"{printable(str(context.store_path))} is sound.\n")
    return 4 if problems else 0


@store.command(
    epilog="Example: manifestd store rebuild. Exit codes: 0 done, 3 no store, 4 damaged."
)
@_FORMAT
@click.pass_obj
def rebuild(context: Context, form: str) -> None:
    """Make the index again from the records and signatures; they stay as they are."""
    from manifestd.store.rebuild import rebuild_store

    number = rebuild_store(context.store_path)
    if form == "json":
        emit_json(
            {
                "schema": "manifestd.store-rebuild/v1",
                "store": str(context.store_path),
                "snapshots": number,
            }
        )
    else:
        emit(f"Indexed {number} snapshot{'' if number == 1 else 's'}.\n")


@store.command(
    epilog="Example: manifestd store backup /mnt/backup/manifestd.db. Exit codes: 0, 2, 3, 4."
)
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@_FORMAT
@click.pass_obj
def backup(context: Context, target: Path, form: str) -> None:
    """Copy the store to TARGET while others may be writing to it.

    TARGET appears whole or not at all; an earlier backup of that name is replaced.
    """
    from manifestd.store.backup import backup_store

    backup_store(context.store_path, target)
    size = target.stat().st_size
    if form == "json":
        emit_json(
            {
                "schema": "manifestd.store-backup/v1",
                "store": str(context.store_path),
                "target": str(target),
                "bytes": size,
            }
        )
    else:
        emit(f"Copied the store to {printable(str(target))} ({size_text(size)}).\n")
