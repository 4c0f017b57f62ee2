"""``verify``: prove stored snapshots again: content addresses, signatures, trust.

Offline, but for ``--against``, which reads a place again. ``--lock`` and ``--receipt`` are for
consumers, who have no store.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json
from manifestd.cli.verify_place import verify_lock, verify_receipt
from manifestd.display import printable
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.model.verification import ProofCheck, VerifyResult


@click.command(
    epilog="Example: manifestd verify hf://openai-community/gpt2 --against /srv/models/gpt2. "
    "Exit codes: 0 verified, 1 the place differs, 3 not stored or undecided, 4 tampered, unsigned, "
    "signed by a key that does not count, or a place whose bytes contradict what it says of them."
)
@click.argument("references", nargs=-1, metavar="REF...|PATH")
@click.option(
    "--against", metavar="PLACE",
    help="Read this place again (a path, hf://, s3:// …), every byte, and compare.",
)  # fmt: skip
@click.option(
    "--lock", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Check the directory PATH against a lock file. Needs no store.",
)  # fmt: skip
@click.option("--name", help="With --lock: which of its models PATH holds.")
@click.option("--allow-subset", is_flag=True, help="With --lock: missing files are fine.")
@click.option(
    "--receipt", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Check that nothing was written at PATH since `gate --receipt`. Reads no file.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 256), help="Reads at the same time.")
@FORMAT
@click.pass_obj
def verify(
    context: Context,
    /,
    references: tuple[str, ...],
    *,
    against: str | None,
    lock: Path | None,
    name: str | None,
    allow_subset: bool,
    receipt: Path | None,
    jobs: int | None,
    form: str,
) -> int:
    """Verify snapshots in the store or in bundles: every byte, the signatures, and whose they are."""
    if sum(way is not None for way in (against, lock, receipt)) > 1:
        raise UsageError("--against, --lock and --receipt exclude each other")
    if lock is None and (name is not None or allow_subset):
        raise UsageError("--name and --allow-subset are for --lock")
    if lock is not None:
        return verify_lock(
            context, lock, references, name=name, allow_subset=allow_subset, jobs=jobs, form=form
        )
    if receipt is not None:
        return verify_receipt(context, receipt, references, form)
    if not references:
        raise UsageError("name what to verify", hint="`manifestd list` shows what is stored")
    if against is not None:
        return _against(context, references, against, jobs, form)
    from manifestd.workflows.verify import report_of
    from manifestd.workflows.verify_bundle import verify_opened

    trust = context.trust()
    with context.opened(*references, every=True) as found:
        report = report_of(verify_opened(found, trust))
    if form == "json":
        emit_json(report)
        return report.exit_code
    for result in report.snapshots:
        if not result.verified or not context.quiet:
            emit("".join(f"{line}\n" for line in result_lines(result)))
    return report.exit_code


def _against(
    context: Context, references: tuple[str, ...], place: str, jobs: int | None, form: str
) -> int:
    from manifestd.cli.against import against_lines
    from manifestd.cli.progress import progress
    from manifestd.model.reference import parse_reference
    from manifestd.workflows.against import verify_against
    from manifestd.workflows.plan import SnapshotRequest

    if len(references) != 1:
        raise UsageError("--against compares one snapshot with one place", hint="name one REF")
    request = SnapshotRequest(
        reference=parse_reference(place), jobs=jobs, own_outputs=context.own_outputs()
    )
    with context.gathered(references[0]) as (store, [known]):
        report = verify_against(
            store,
            known,
            request,
            context.trust(),
            progress=partial(progress, quiet=context.quiet or form == "json"),
        )
    if form == "json":
        emit_json(report)
    elif not report.verified or not context.quiet:
        lines = [*result_lines(report.stored), *against_lines(report)]
        emit("".join(f"{line}\n" for line in lines))
    return report.exit_code


def result_lines(result: VerifyResult) -> list[str]:
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
            f"  content    verified: {checked.files} file{'s' * (checked.files != 1)},"
            f" {checked.bodies} kept bod{'y' if checked.bodies == 1 else 'ies'},"
            f" {checked.facts} fact document{'s' * (checked.facts != 1)},"
            f" manifest {result.manifest or 'none'}"
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
    if result.proof is not None:
        lines.append(_proof_line(result.proof))
    return lines


def _proof_line(proof: ProofCheck) -> str:
    if proof.state == "verified":
        who = ", ".join(proof.signed_by)
        text = f"entry {proof.entry} of {proof.origin}, logged {proof.at}, checkpoint of {who}"
    else:
        text = f"{proof.state.upper()}: {proof.why}"
    return f"  log        {printable(text)}"


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
