"""``export``: stored snapshots in the formats of other tools."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from manifestd.cli.context import Context
from manifestd.cli.output import file_named, say, to_stdout, write_file
from manifestd.cli.streams import is_device
from manifestd.display import printable
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.store import Store

_FORMS: Final = (
    "sha256sum", "bagit", "cyclonedx", "modelpack", "oci-layout", "oms", "manifest", "dsse", "pae",
    "parquet", "bundle",
)  # fmt: skip
_ONE_FILE: Final = ("oms", "bundle")
"""Formats that are not in the family of exports: they need keys, or several snapshots."""


@click.command(
    epilog="Example: manifestd export hf://openai-community/gpt2 --as oms --key keys/oms.pem "
    "-o model.sig. Exit codes: 0, 2, 3, 4."
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--as", "form", required=True, metavar="FORMAT", help="One of: " + ", ".join(_FORMS))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path),
    help="The file (- for stdout), or for formats of several files the new directory, to write.",
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
    if form != "bundle" and len(references) != 1:
        raise UsageError(f"--as {form} takes one snapshot", hint="only --as bundle takes several")
    if file_named(output) is not None:
        for line in _written(context, references, form, output=output, key=key, ignore=ignore):
            say(line)
        return 0
    if form not in _ONE_FILE and _makes_directory(form):
        raise UsageError(f"--as {form} makes a directory", hint="name a new one with -o")
    # Made whole before, so that a refusal writes nothing.
    with tempfile.TemporaryDirectory(prefix="manifestd-") as folder:
        file = Path(folder) / "export"
        _, *notes = _written(context, references, form, output=file, key=key, ignore=ignore)
        with file.open("rb") as made, to_stdout():
            shutil.copyfileobj(made, sys.stdout.buffer)
    for note in notes:
        say(note)
    return 0


def _makes_directory(form: str) -> bool:
    from manifestd.exports import EXPORTS

    return EXPORTS.load(form).several


def _written(
    context: Context,
    references: tuple[str, ...],
    form: str,
    *,
    output: Path,
    key: str | None,
    ignore: tuple[str, ...],
) -> list[str]:
    """Write it; what to say of it, and what whoever uses it must know."""
    if form == "bundle":
        return [_bundle(context, references, output)]
    with context.open_store() as store:
        if form == "oms":
            return [_oms(context, store, references[0], output=output, key=key, ignore=ignore)]
        from manifestd.workflows.exports import export_snapshot

        written = export_snapshot(store, references[0], form, output)
    files = ", ".join(written.files[:8]) + (" …" if len(written.files) > 8 else "")
    said = [f"wrote {printable(str(output))}" + (f" with {files}" if files else "")]
    return said if written.note is None else [*said, f"Note: {written.note}"]


def _oms(
    context: Context,
    store: Store,
    reference: str,
    *,
    output: Path,
    key: str | None,
    ignore: tuple[str, ...],
) -> str:
    from manifestd.signing.base import needed
    from manifestd.workflows.oms import sign_as_oms

    signer = needed(context.signer(key), "an OMS signature")
    if output.exists() and not is_device(output):  # it may be the publisher's own signature
        raise UsageError(f"{output} exists", hint="name a new file or remove the old one")
    write_file(output, sign_as_oms(store, reference, signer, (*ignore, output.name)))
    shown = printable(str(output))
    return f"wrote {shown}; `model_signing verify key` accepts it against the directory"


def _bundle(context: Context, references: tuple[str, ...], output: Path) -> str:
    from manifestd.workflows.bundle_write import export_bundle

    with context.open_store() as store:
        signer = context.signer()
        index = export_bundle(
            store, references, output, config=context.config, signer=signer, trust=context.trust()
        )
    count = len(index.snapshots)
    said, blobs = len(index.statements), len(index.blobs)
    carried = f"{count} snapshot{'s' * (count > 1)} and {said} statement{'s' * (said != 1)}"
    return f"wrote {printable(str(output))} with {carried} in {blobs} blob{'s' * (blobs != 1)}"
