"""``export``: stored snapshots in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from manifestd.cli.context import Context
from manifestd.cli.output import say, write_file
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.store import Store

_FORMS: Final = (
    "sha256sum", "bagit", "cyclonedx", "modelpack", "oci-layout", "oms", "manifest", "dsse", "pae",
    "parquet", "bundle",
)  # fmt: skip


@click.command(
    epilog="Example: manifestd export hf://openai-community/gpt2 --as oms --key keys/oms.pem "
    "-o model.sig. Exit codes: 0, 2, 3, 4."
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--as", "form", required=True, metavar="FORMAT", help="One of: " + ", ".join(_FORMS))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path),
    help="The file, or for formats of several files the new directory, to write.",
)  # fmt: skip
@click.option("--key", metavar="URI", help="oms: the key to sign with (P-256, P-384, P-521).")
@click.option(
    "--ignore", multiple=True, metavar="PATH", help="oms: paths the signature leaves out."
)
@click.pass_obj
def export(
    context: Context,
    /,
    references: tuple[str, ...],
    *,
    form: str,
    output: Path,
    key: str | None,
    ignore: tuple[str, ...],
) -> int:
    """Write stored snapshots in the format of another tool; no model bytes are needed."""
    if form != "oms" and (key or ignore):
        raise UsageError("--key and --ignore are for --as oms only")
    if form not in _FORMS:
        from manifestd.exports import EXPORTS

        if form not in EXPORTS.names():
            known = ", ".join(_FORMS)
            raise UsageError(f"there is no export format {form!r}", hint=f"known are {known}")
    if form == "bundle":
        return _bundle(context, references, output)
    if len(references) != 1:
        raise UsageError(f"--as {form} takes one snapshot", hint="only --as bundle takes several")
    with context.open_store() as store:
        if form == "oms":
            return _oms(context, store, references[0], output=output, key=key, ignore=ignore)
        from manifestd.workflows.exports import export_snapshot

        written = export_snapshot(store, references[0], form, output)
    files = ", ".join(written.files[:8]) + (" …" if len(written.files) > 8 else "")
    say(f"wrote {output}" + (f" with {files}" if files else ""))
    if written.note is not None:
        say(f"Note: {written.note}")
    return 0


def _oms(
    context: Context,
    store: Store,
    reference: str,
    *,
    output: Path,
    key: str | None,
    ignore: tuple[str, ...],
) -> int:
    from manifestd.workflows.oms import sign_as_oms

    signer = context.signer(key)
    if signer is None:
        raise UsageError("no key to sign with", hint="name one with --key")
    write_file(output, sign_as_oms(store, reference, signer, (*ignore, output.name)))
    say(f"wrote {output}; `model_signing verify key` accepts it against the directory")
    return 0


def _bundle(context: Context, references: tuple[str, ...], output: Path) -> int:
    from manifestd.workflows.bundle_write import export_bundle

    with context.open_store() as store:
        signer = context.signer()
        index = export_bundle(
            store, references, output, config=context.config, signer=signer, trust=context.trust()
        )
    count = len(index.snapshots)
    carried = f"{count} snapshot{'s' if count > 1 else ''} and {len(index.statements)} statements"
    say(f"wrote {output} with {carried} in {len(index.blobs)} blobs")
    return 0
