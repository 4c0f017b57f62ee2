"""``import``: evidence that came from elsewhere, brought into the store."""

from __future__ import annotations

from pathlib import Path

import click

from manifestd._version import TOOL
from manifestd.cli.context import Context
from manifestd.cli.named_file import read_public
from manifestd.cli.options import FORMAT, text
from manifestd.cli.output import emit, emit_json, say
from manifestd.display import printable
from manifestd.errors import MalformedError
from manifestd.model.importing import ImportResult


@click.command(
    "import",
    epilog="Example: manifestd import gpt2.bundle. Exit codes: 0 it is in the store, 2 wrong usage, "
    "3 a file of it cannot be read, 4 damaged, not what it says, or of no kind that is known.",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", type=text, help="Not for bundles: name to file the evidence under.")
@click.option(
    "--place", metavar="S3-PREFIX",
    help="S3 documents: only objects below s3://bucket/prefix/, under their names below it.",
)  # fmt: skip
@click.option(
    "--checksums", multiple=True, metavar="REPORT", type=click.Path(path_type=Path, dir_okay=False),
    help="With an S3 Inventory: a Compute-checksum report about the same objects.",
)  # fmt: skip
@click.option(
    "--oms-key", metavar="PEM", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="OMS signatures: the publisher's public key; without it nothing is verified, and said so.",
)  # fmt: skip
@click.option(
    "--key", metavar="URI", help="Sign what is recorded with this key, not the configured."
)
@click.option("--no-sign", is_flag=True, help="Store the record unsigned.")
@FORMAT
@click.pass_obj
def import_(
    context: Context,
    /,
    file: Path,
    *,
    name: str | None,
    place: str | None,
    checksums: tuple[Path, ...],
    oms_key: Path | None,
    key: str | None,
    no_sign: bool,
    form: str,
) -> int:
    """Bring evidence from elsewhere into the store, its origin named.

    FILE is a bundle that `export --as bundle` wrote; a list that sha256sum wrote;
    an OpenSSF model signature; the manifest.json of an S3 Inventory; or a report
    of an S3 Compute-checksum job. What a bundle carries is checked, and its keys
    are not trusted. All else becomes a snapshot whose digests are as good as the
    file: `declared`, or `stored` where S3 computed them.
    """
    from manifestd.workflows.imports import ImportRequest, import_file

    request = ImportRequest(
        file=file,
        name=name,
        place=place,
        checksums=checksums,
        oms_key=read_public(oms_key).pem if oms_key else None,
        tool=TOOL,
    )
    signer = None if no_sign else context.signer(key)
    with context.open_store(write=True) as store:
        result = import_file(
            store, request, signer=signer, trust=context.trust(), rules=context.config.tags
        )
    if form == "json":
        emit_json(result)
    else:
        _show(result)
    return 0


def _show(result: ImportResult) -> None:
    from manifestd.signing.public import read_public_key

    for digest in result.snapshots:
        emit(f"{digest}\n")
    count = len(result.snapshots)
    say(f"{result.new} of {count} snapshot{'s are' if count > 1 else ' is'} new ({result.kind})")
    for statement in result.statements:
        why = f": {statement.why}" if statement.why else ""
        about = f"{statement.kind} of {statement.tag} by {statement.by}"
        say(printable(f"{statement.state}: {about}{why}"))
    for suggested in result.suggested_keys:
        try:
            name = read_public_key(suggested.pem.encode()).key_id[:12]
        except MalformedError:
            name = "(of a kind that is not read)"
        whose = f"suggested key {name} of {printable(suggested.person)}"
        say(f"{whose}; trust it only if you know whose it is")
    for note in result.notes:
        say(f"Note: {printable(note)}")
