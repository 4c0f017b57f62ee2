"""``lock``: pin stored snapshots in a file that the consumer keeps. Offline."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.output import emit, file_named, say, to_stdout, write_lines
from manifestd.display import printable
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.store import Store


@click.command(
    epilog="Example: manifestd lock -o manifestd.lock gpt2:production. Exit codes: 0 written, "
    "2 an incomplete snapshot, 3 not stored, 4 a signature that does not verify, or a tampered store."
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Where to write (default: stdout). Commit manifestd.lock beside the code that uses it.",
)  # fmt: skip
@click.option(
    "--as", "kind", type=click.Choice(["lock", "sha256sum"]), default="lock", show_default=True,
    help="sha256sum: one snapshot's files, for `sha256sum -c`.",
)  # fmt: skip
@click.pass_obj
def lock(context: Context, references: tuple[str, ...], output: Path | None, kind: str) -> None:
    """Write a lock file: name, source, revision and every file's sha256 of stored snapshots.

    `manifestd verify --lock FILE PATH` checks a directory against it, without a store.
    """
    from manifestd.workflows.lock import write_lock, write_sums

    if kind == "sha256sum" and len(references) != 1:
        raise UsageError(
            "sha256sum files are of one snapshot each",
            hint="write one file for each, or a lock file for all: leave --as out",
        )
    with context.gathered(*references) as (store, known):
        count = len({store.snapshots.resolve(reference) for reference in known})
        for reference in known:
            _check_signature(context, store, reference)
        lines = write_lock(store, known) if kind == "lock" else write_sums(store, known[0])
        _write(lines, output)
    if file_named(output) is not None and not context.quiet:
        emit(f"{printable(str(output))} pins {count} snapshot{'s' * (count > 1)}\n")


def _check_signature(context: Context, store: Store, reference: str) -> None:
    """Refuse a signature that is wrong; warn where there is none that counts."""
    from manifestd.workflows.sign import unbroken_signature_of

    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    state = unbroken_signature_of(store, digest, record, context.trust())
    if state != "verified":
        say(f"Warning: {printable(reference)} is {state}: nobody who is trusted vouches for it.")


def _write(lines: Iterator[bytes], output: Path | None) -> None:
    """Write line by line; a file appears whole or not at all."""
    file = file_named(output)
    if file is not None:
        write_lines(file, lines)
        return
    with to_stdout():
        sys.stdout.buffer.writelines(lines)
