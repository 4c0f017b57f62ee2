"""``oms``: a publisher's OpenSSF model signature, checked against a stored snapshot."""

from __future__ import annotations

from pathlib import Path

import click

from manifestd.cli.context import Context
from manifestd.cli.named_file import read_named, read_public
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable

_SHOWN = 20


@click.group(epilog="Exit codes: see the commands.")
def oms() -> None:
    """Check OpenSSF model signatures (OMS) from stored digests."""


@oms.command(
    epilog="Example: manifestd oms verify model.sig s3://models/gpt2/ --key publisher.pub. "
    "Exit codes: 0 verified, 2 wrong usage, 3 cannot be checked, 4 mismatch or bad signature."
)
@click.argument("signature", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("reference")
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The publisher's public key (PEM); without it those that the configuration trusts for "
    "snapshots. Keys inside the signature are never used.",
)  # fmt: skip
@FORMAT
@click.pass_obj
def verify(
    context: Context, signature: Path, reference: str, key_file: Path | None, form: str
) -> int:
    """Check a model signature against a stored snapshot; the model's bytes are not needed."""
    from manifestd.model.oms import EXIT_CODES
    from manifestd.workflows.oms import MAX_SIGNATURE, verify_signature

    by = context.trust() if key_file is None else read_public(key_file)
    with context.gathered(reference) as (store, [known]):
        result = verify_signature(store, known, read_named(signature, MAX_SIGNATURE), by)
    if form == "json":
        emit_json(result)
        return EXIT_CODES[result.answer]
    found = result.outcome
    whose = f" by the key {result.key[:12]}" if result.key else ""
    emit(
        f"{result.answer.upper()}{whose}: {printable(signature.name)}, {printable(result.source)}\n"
    )
    if found.why:
        emit(f"  why: {printable(found.why)}\n")
    if result.answer != "bad signature":
        emit(f"  {found.files} file{'' if found.files == 1 else 's'} as signed\n")
    for word, paths in (
        ("changed", found.changed), ("missing", found.missing), ("not signed", found.extra),
        ("cannot be decided", found.unknown), ("present, but not covered by the signature", found.not_covered),
    ):  # fmt: skip
        for path in paths[:_SHOWN]:
            emit(f"  {word}: {printable(path)}\n")
        if len(paths) > _SHOWN:
            emit(f"  {word}: and {len(paths) - _SHOWN} more\n")
    return EXIT_CODES[result.answer]
