"""``push``: a stored snapshot and its signatures into a registry."""

from __future__ import annotations

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json, table


@click.command(
    epilog="Example: manifestd push hf://openai-community/gpt2 oci://registry.example/models/gpt2:snapshot. "
    "Exit codes: 0 pushed, 2, 3 (registry not reached, refused), 4."
)
@click.argument("reference", metavar="REF")
@click.argument("target", metavar="oci://HOST/REPOSITORY[:TAG]")
@click.option(
    "--subject", metavar="oci://…@sha256:…",
    help="Attach it to this artifact of the same repository; then no tag is needed.",
)  # fmt: skip
@click.option("--plain-http", is_flag=True, help="Speak http also to other machines than this.")
@FORMAT
@click.pass_obj
def push(
    context: Context, /, reference: str, target: str, *, subject: str | None, plain_http: bool,
    form: str,
) -> int:  # fmt: skip
    """Push a stored snapshot into a registry, with its signatures attached; no model bytes."""
    from manifestd.model.reference import parse_oci
    from manifestd.sources.base import SourceSettings
    from manifestd.workflows.push import push_snapshot

    where = parse_oci(target)
    above = parse_oci(subject) if subject else None
    with context.open_store() as store:
        pushed = push_snapshot(
            store,
            reference,
            where,
            settings=SourceSettings(options={"plainHttp": plain_http}),
            subject=above,
        )
    if form == "json":
        emit_json(pushed)
        return 0
    rows = [
        ("snapshot", pushed.snapshot),
        ("carrier", f"{pushed.repository}@{pushed.carrier}"),
        ("tag", pushed.tag or "none"),
        ("attached to", pushed.subject or "nothing"),
        ("signatures", f"{len(pushed.signatures)} attached" if pushed.signatures else "none"),
    ]
    emit(table(rows))
    return 0
