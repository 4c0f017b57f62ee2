"""``show``: one snapshot's record, how it is known and who signed it."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json, table
from manifestd.display import printable, size_text


@click.command(epilog="Example: manifestd show hf://openai-community/gpt2. Exit codes: 0, 2, 3, 4.")
@click.argument("reference")
@FORMAT
@click.pass_obj
def show(context: Context, reference: str, form: str) -> int:
    """Show one snapshot: what, where, when, how it is known, who signed."""
    from manifestd.workflows.oms import carried_signatures
    from manifestd.workflows.sign import signature_of

    with context.gathered(reference) as (store, (known,)):
        digest = store.snapshots.resolve(known)
        record = store.snapshots.load(digest)
        state, signers = signature_of(store, digest, record, context.trust())
        carried = carried_signatures(store, record)
    if form == "json":
        document: dict[str, Any] = msgspec.to_builtins(record)
        document |= {
            "snapshot": digest,
            "signature": state,
            "signedBy": signers,
            "carries": carried,
        }
        emit_json(document)
        return 0
    revision = f" -> {record.revision}" if record.revision else ""
    rows = [
        ("snapshot", digest),
        ("manifest", record.manifest or "none (a file's sha256 is unknown)"),
        ("name", record.name),
        ("source", record.source),
        ("revision", f"{record.requested or '-'}{revision}"),
        ("captured", record.captured_at),
        ("files", f"{record.files} ({size_text(record.bytes)})"),
        ("complete", "yes" if record.complete else "NO"),
        ("evidence", record.evidence.told()),
        ("read", record.selection.read),
        ("ignored", ", ".join(record.selection.ignore) or "nothing"),
        ("signature", f"{state}" + (f" ({', '.join(signers)})" if signers else "")),
        ("taken by", record.tool),
    ]
    rows += [(f"  {key}", _fact(value)) for key, value in sorted(record.facts.items())]
    rows += [("carries", line) for line in carried]
    emit(table(rows))
    for problem in record.problems:
        where = f"{printable(problem.path)}: " if problem.path is not None else ""
        emit(f"{problem.severity}: {where}{printable(problem.what)}\n")
    return 0


def _fact(value: object) -> str:
    """What the source said of itself, as people write it."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
