"""``whereis``: every snapshot that holds a file with this digest."""

from __future__ import annotations

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json, table
from manifestd.errors import MalformedError, UsageError
from manifestd.model.digest import HEX_LENGTH, check_value, short


@click.command(epilog="Example: manifestd whereis sha256:… . Exit codes: 0 found, 3 not found.")
@click.argument("digest")
@FORMAT
@click.pass_obj
def whereis(context: Context, digest: str, form: str) -> int:
    """Find every snapshot that holds a file with this digest."""
    algorithm, colon, value = digest.partition(":")
    if not colon or algorithm not in HEX_LENGTH:
        raise UsageError(
            f"not a digest: {digest[:80]!r}", hint="write sha256:<hex>, sha1-git:<hex>, md5:<hex> …"
        )
    try:
        check_value(algorithm, value)
    except MalformedError as error:
        raise UsageError(error.what, why=error.why) from error
    with context.open_store() as store:
        places = list(store.where(digest))
    if form == "json":
        emit_json({"schema": "manifestd.whereis/v1", "digest": digest, "places": places})
    elif places:
        lines = [
            (short(place.snapshot), place.captured_at[:19] + "Z", place.source, place.path)
            for place in places
        ]
        emit(table(lines, ("SNAPSHOT", "CAPTURED", "SOURCE", "PATH")))
    else:
        emit(f"No snapshot in the store holds {digest}.\n")
    return 0 if places else 3
