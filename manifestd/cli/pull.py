"""``pull``: snapshots out of a registry, verified."""

from __future__ import annotations

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json, say
from manifestd.cli.verify import result_lines
from manifestd.display import printable


@click.command(
    epilog="Example: manifestd pull oci://registry.example/models/gpt2:snapshot. "
    "Exit codes: 0 stored and verified, 2, 3 (nothing there, not reached), 4 does not verify."
)
@click.argument("reference", metavar="oci://HOST/REPOSITORY[:TAG|@DIGEST]")
@click.option("--plain-http", is_flag=True, help="Speak http also to other machines than this.")
@FORMAT
@click.pass_obj
def pull(context: Context, /, reference: str, *, plain_http: bool, form: str) -> int:
    """Bring snapshots out of a registry into the store: a carrier, or all attached to a model."""
    from manifestd.model.reference import parse_oci
    from manifestd.sources.base import SourceSettings
    from manifestd.workflows.pull import pull_snapshots

    where = parse_oci(reference)
    trust = context.trust()
    with context.open_store(write=True) as store:
        pulled = pull_snapshots(
            store, where, settings=SourceSettings(options={"plainHttp": plain_http}), trust=trust,
            rules=context.config.tags,
        )  # fmt: skip
    if form == "json":
        emit_json(pulled)
        return pulled.exit_code
    for result in pulled.snapshots:
        emit("".join(f"{line}\n" for line in result_lines(result)))
    for problem in pulled.problems:
        say(f"Note: {printable(problem.what)}")
    count = len(pulled.snapshots)
    say(f"{pulled.new} of {count} snapshot{'s are' if count > 1 else ' is'} new")
    return pulled.exit_code
