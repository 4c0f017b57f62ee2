"""``policy``: today's policy over stored snapshots. Offline."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.model.finding import Finding, PolicyReport, PolicyVerdict


@click.group()
def policy() -> None:
    """Hold stored snapshots against the policy of manifestd.toml."""


@policy.command(
    epilog="Example: manifestd policy check hf://openai-community/gpt2. Exit codes: 0 passes, "
    "1 findings, 2 the policy is not usable, 3 not stored, 4 the store was tampered with."
)
@click.argument("references", nargs=-1, metavar="REF...")
@click.option("--all", "every", is_flag=True, help="Every snapshot in the store, newest first.")
@FORMAT
@click.pass_obj
def check(context: Context, references: tuple[str, ...], every: bool, form: str) -> int:
    """Judge stored snapshots, old ones too, by the policy of today."""
    from manifestd.workflows.policy import check_references

    if every == bool(references):
        raise UsageError(
            "name the snapshots to judge, or --all",
            hint="manifestd policy check REF, or manifestd policy check --all",
        )
    config = context.config
    with context.open_store() as store:
        wanted = [row.digest for row in store.snapshots.list()] if every else list(references)
        report = check_references(store, config, wanted, datetime.now(UTC))
    if form == "json":
        emit_json(report)
    else:
        emit("".join(f"{line}\n" for line in _lines(report, quiet=context.quiet)))
    return report.exit_code


@policy.command(
    epilog="Example: manifestd policy show openai-community/gpt2. Exit codes: 0, 2 the policy is "
    "not usable."
)
@click.argument("model", required=False)
@click.pass_obj
def show(context: Context, model: str | None) -> int:
    """Print the policy for MODEL as the canonical document that its digest is over."""
    from manifestd.workflows.policy import policy_document

    config = context.config
    names = frozenset({model} if model else ())
    emit(policy_document(config.policy, config.model, names).decode() + "\n")
    return 0


def _lines(report: PolicyReport, *, quiet: bool) -> Iterator[str]:
    for verdict in report.verdicts:
        if not quiet or not verdict.passes:
            yield from _verdict(verdict)
    for error in report.errors:
        yield f"NOT JUDGED: {printable(error.facts.get('reference', ''))}"
        yield f"  {printable(error.what)}"
        if error.hint:
            yield f"  hint: {printable(error.hint)}"


def _verdict(verdict: PolicyVerdict) -> Iterator[str]:
    at = f"@{verdict.revision}" if verdict.revision else ""
    word = "passes" if verdict.passes else "DOES NOT PASS"
    yield f"{word}: {printable(verdict.source + at)}, {verdict.captured_at[:19]}Z"
    yield f"  snapshot  {verdict.snapshot}"
    yield f"  policy    {verdict.policy}"
    for finding in verdict.findings:
        yield from _finding(finding)


def _finding(finding: Finding) -> Iterator[str]:
    word = "waived" if finding.waived else finding.severity
    where = f"{printable(finding.path)}: " if finding.path is not None else ""
    yield f"  {word:<8}  {finding.rule}: {where}{printable(finding.what)}"
    if finding.waived:
        note = finding.waived
        until = f" until {note.expires[:10]}" if note.expires else ""
        yield f"            by {printable(note.owner)}{until}: {printable(note.reason)}"
    elif finding.hint:
        yield f"            hint: {printable(finding.hint)}"
