"""``manifestd diff``: compare two stored snapshots, offline."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from manifestd.cli.context import Context

# Packages may add reports, so --format takes any name; these are the built-in ones.
FORMATS = ("text", "json", "markdown", "html", "junit", "sarif", "csv")
GRADES = ("measured", "reused", "stored", "declared")
IMPACTS = ("cosmetic", "metadata", "behaviour", "security")


@click.command()
@click.argument("left")
@click.argument("right")
@click.option(
    "--format", "format_", metavar=f"[{'|'.join(FORMATS)}]", default="text", show_default=True,
    help="How the result looks.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.",
)  # fmt: skip
@click.option("--changes-only", is_flag=True, help="Leave identical files out.")
@click.option("--strict", is_flag=True, help="Only identical files pass; equivalent ones fail.")
@click.option(
    "--min-evidence", type=click.Choice(GRADES),
    help="Equality known less well than this is undecided.",
)  # fmt: skip
@click.option(
    "--min-impact", type=click.Choice(IMPACTS),
    help="Differences of less impact than this do not fail.",
)  # fmt: skip
@click.option(
    "--require-signature", is_flag=True, help="Both sides must be signed by a trusted key.",
)  # fmt: skip
@click.pass_obj
def diff(
    context: Context,
    left: str,
    right: str,
    *,
    format_: str,
    output: Path | None,
    changes_only: bool,
    strict: bool,
    min_evidence: str | None,
    min_impact: str | None,
    require_signature: bool,
) -> int:
    """Compare two snapshots. Opens no socket, ever.

    LEFT and RIGHT name snapshots in the store: a digest or a unique prefix of
    one, a source reference such as hf://org/name (its latest snapshot), a name,
    or REF@{2026-03-01} for the latest of that day.

    Exit codes: 0 identical or equivalent, 1 differences, 3 something could not
    be decided, 4 a signature does not verify (or is missing where required).
    """
    import msgspec

    from manifestd import canonical
    from manifestd.cli.output import emit
    from manifestd.reports import REPORTS
    from manifestd.reports.base import ReportOptions
    from manifestd.rules.verdicts import Demands, exit_code
    from manifestd.workflows.compare import compare

    report = REPORTS.load(format_)()
    demands = msgspec.convert(
        {
            "strict": strict,
            "min_evidence": min_evidence or "none",
            "min_impact": min_impact or "none",
            "require_signature": require_signature,
        },
        canonical.prepared(Demands),
    )
    with context.gathered(left, right) as (store, (left_ref, right_ref)):
        found = compare(
            store, left_ref, right_ref, demands, context.trust,
            list_identical=format_ not in {"text", "sarif"} and not changes_only,
        )  # fmt: skip
    options = ReportOptions(changes_only=changes_only, **_screen(output))
    emit(report.diff(found, options), output)
    if os.environ.get("GITHUB_ACTIONS"):
        from manifestd.cli.github import tell_github

        tell_github(found, os.environ)
    return exit_code(found)


def _screen(output: Path | None) -> dict[str, bool]:
    """Colours for people: on a terminal only, and not where NO_COLOR is set."""
    terminal = output is None and sys.stdout.isatty()
    return {"color": terminal and not os.environ.get("NO_COLOR")}
