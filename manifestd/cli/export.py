"""``export``: stored snapshots in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from manifestd.cli.context import Context
from manifestd.cli.output import say, write_file
from manifestd.errors import UsageError

_FORMS: Final = (
    "sha256sum", "bagit", "cyclonedx", "modelpack", "oci-layout", "oms", "manifest", "dsse", "pae",
    "parquet",
)  # fmt: skip


@click.command(
    epilog="Example: manifestd export hf://openai-community/gpt2 --as oms --key keys/oms.pem "
    "-o model.sig. Exit codes: 0, 2, 3, 4."
)
@click.argument("reference")
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
def export(  # noqa: PLR0917  (click gives them by name)
    context: Context,
    reference: str,
    form: str,
    output: Path,
    key: str | None,
    ignore: tuple[str, ...],
) -> int:
    """Write a stored snapshot in the format of another tool; no model bytes are needed."""
    if form != "oms" and (key or ignore):
        raise UsageError("--key and --ignore are for --as oms only")
    with context.open_store() as store:
        if form == "oms":
            from manifestd.workflows.oms import sign_as_oms

            signer = context.signer(key)
            if signer is None:
                raise UsageError("no key to sign with", hint="name one with --key")
            left_out = (*ignore, output.name)
            write_file(output, sign_as_oms(store, reference, signer, left_out))
            say(f"wrote {output}; `model_signing verify key` accepts it against the directory")
            return 0
        from manifestd.workflows.exports import export_snapshot

        written = export_snapshot(store, reference, form, output)
    files = [path for path in written if path]
    say(f"wrote {output}" + (f" with {', '.join(files[:8])}" if files else ""))
    return 0
