"""``verify``: prove stored snapshots again: content addresses, signatures, trust. Offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable

if TYPE_CHECKING:
    from manifestd.workflows.verify import VerifyResult


@click.command(
    epilog="Example: manifestd verify hf://openai-community/gpt2. Exit codes: 0 verified, "
    "3 not stored, 4 tampered, unsigned, or signed by a key that does not count."
)
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def verify(context: Context, references: tuple[str, ...], form: str) -> int:
    """Verify stored snapshots: every stored byte, the signatures, and whose they are."""
    from manifestd.workflows.verify import report_of, verify_references

    trust = context.trust()
    with context.open_store() as store:
        report = report_of(verify_references(store, list(references), trust))
    if form == "json":
        emit_json(report)
        return report.exit_code
    for result in report.snapshots:
        if not result.verified or not context.quiet:
            emit("".join(f"{line}\n" for line in _lines(result)))
    return report.exit_code


def _lines(result: VerifyResult) -> list[str]:
    """One line that says it all, then one for each thing that is wrong."""
    word = "verified" if result.verified else "NOT VERIFIED"
    if result.content == "unknown":
        word = "not stored"
    lines = [f"{word}: {printable(result.reference)}"]
    if result.snapshot is not None:
        lines.append(f"  snapshot   {result.snapshot}")
    if result.name is not None:
        at = f" at {result.revision}" if result.revision else ""
        lines.append(f"  of         {printable(f'{result.source}{at}')}, {result.captured_at}")
    if result.content == "verified":
        checked = result.checked
        lines.append(
            f"  content    verified: {checked.files} files, {checked.bodies} kept bodies,"
            f" {checked.facts} fact documents, manifest {result.manifest or 'none'}"
        )
    elif result.content == "tampered":
        count = len(result.flaws) + result.more_flaws
        lines.append(f"  content    TAMPERED: {count} flaw{'s' if count > 1 else ''}")
    for flaw in result.flaws:
        where = f"{printable(flaw.path)}: " if flaw.path is not None else ""
        lines.append(f"    {where}{printable(flaw.what)}")
        if flaw.hint:
            lines.append(f"    hint: {printable(flaw.hint)}")
    if result.more_flaws:
        lines.append(f"    … and {result.more_flaws} more")
    if result.name is not None:
        lines += _signature_lines(result)
    return lines


def _signature_lines(result: VerifyResult) -> list[str]:
    if not result.signatures:
        return [f"  signature  {result.signature.upper()}"]
    lines: list[str] = []
    for check in result.signatures:
        state = check.state if check.state == "verified" else check.state.upper()
        person = f"{printable(check.person)} " if check.person else ""
        lines.append(f"  signature  {state}: {person}(key {check.key_id[:12]})")
        if check.why:
            lines.append(f"    {printable(check.why)}")
        if check.hint:
            lines.append(f"    hint: {printable(check.hint)}")
    return lines
