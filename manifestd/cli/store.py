"""``store``: check, rebuild, back up and prune the store."""

from __future__ import annotations

from pathlib import Path

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT, KEY, text
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable, size_text
from manifestd.redact import redact


@click.group()
def store() -> None:
    """Check, rebuild, back up and prune the store."""


@store.command(epilog="Example: manifestd store check. Exit codes: 0 sound, 3 no store, 4 damaged.")
@FORMAT
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
@click.option(
    "--drop-damaged", is_flag=True,
    help="Before that, remove damaged pieces that `snapshot --fresh` can write again.",
)  # fmt: skip
@FORMAT
@click.pass_obj
def rebuild(context: Context, *, drop_damaged: bool, form: str) -> None:
    """Make the index again from the records and signatures; they stay as they are.

    What is stored under a digest is never written over, not even if its bytes went
    bad. With --drop-damaged such pieces of file lists, kept texts and facts are
    removed and named, and snapshots whose file list then has a gap are left out of
    the index. `snapshot --fresh` of the same files writes the pieces again, `store
    rebuild` without the option brings the snapshots back. Records, signatures and
    the history are not touched: if those are damaged, restore a backup.
    """
    from manifestd.store.damage import drop_damaged as drop
    from manifestd.store.rebuild import rebuild_store

    dropped = drop(context.store_path) if drop_damaged else []
    number = rebuild_store(context.store_path, whole=drop_damaged)
    if form == "json":
        emit_json(
            {
                "schema": "manifestd.store-rebuild/v1",
                "store": str(context.store_path),
                "snapshots": number,
                "dropped": dropped,
            }
        )
        return
    for digest in dropped:
        emit(f"dropped {digest}\n")
    emit(f"Indexed {number} snapshot{'' if number == 1 else 's'}.\n")


@store.command(
    epilog="Example: manifestd store backup /mnt/backup/manifestd.db. Exit codes: 0, 2, 3, 4."
)
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@FORMAT
@click.pass_obj
def backup(context: Context, target: Path, form: str) -> None:
    """Copy the store to TARGET while others may be writing to it.

    TARGET appears whole or not at all. An earlier backup of this store is replaced,
    any other file is not, nor a copy that holds what the store lacks.
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


@store.command(
    epilog="Example: manifestd store prune --keep 30 --before 2026-01-01. Exit codes: 0, "
    "2 wrong usage or no key, 3 no store, 4 damaged: then nothing is removed."
)
@click.option("--keep", type=click.IntRange(1), help="Keep so many of the newest of each place.")
@click.option("--before", metavar="DATE", help="Only those captured before this date or time.")
@click.option("--name", type=text, help="Only snapshots filed under this name.")
@click.option("--reason", type=text, help="Why; kept in the history. Default: the rule in words.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@KEY
@FORMAT
@click.pass_obj
def prune(
    context: Context,
    *,
    keep: int | None,
    before: str | None,
    name: str | None,
    reason: str | None,
    dry_run: bool,
    key: str | None,
    form: str,
) -> None:
    """Remove old snapshots; a signed tombstone in the history says which and why.

    Never removed: the newest (complete) snapshot of a place, and what a tag names
    or ever named, or somebody approved. Do not prune while snapshots are taken.
    """
    from manifestd.model.moment import parse_day
    from manifestd.workflows.prune import Rule
    from manifestd.workflows.prune import prune as remove

    rule = Rule(keep=keep, before=None if before is None else parse_day(before), name=name)
    desk = context.desk(None if dry_run else context.signer(key))
    with context.open_store() if dry_run else context.change_store() as opened:
        found = remove(opened, desk, rule, reason=reason, dry_run=dry_run)
    if form == "json":
        emit_json(found)
        return
    for digest in found.removed:
        emit(f"{'would remove' if dry_run else 'removed'} {digest}\n")
    emit(f"{len(found.removed)} snapshots, {found.kept} that matched are kept")
    freed = f", {found.blobs} pieces ({size_text(found.bytes)}) freed" if found.blobs else ""
    emit(f"{freed}.\n")
