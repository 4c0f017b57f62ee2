"""``run --plan``: what a run would do and cost, by listings alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from manifestd.cli.context import Context
from manifestd.cli.output import emit, emit_json, table
from manifestd.display import printable, size_text
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.model.failure import Failure
    from manifestd.model.run import RunPlan
    from manifestd.workflows.run_plan import Planned


def show_plan(
    context: Context,
    models: list[Planned],
    *,
    notes: list[str],
    errors: list[Failure],
    patience: float,
    form: str,
) -> int:
    """Print the plan, as text or JSON; the exit code.

    Args:
        context: The global options.
        models: Which.
        notes: What a reader must know besides.
        errors: Why models may be missing.
        patience: Seconds for which one request may be tried again.
        form: The format that was asked for.

    Raises:
        UsageError: A plan has no such format.
    """
    from manifestd.store import open_store
    from manifestd.workflows.run_estimate import estimate_run

    if form not in {"text", "json"}:
        raise UsageError(f"--plan has no format {form!r}", hint="use text or json")
    with tempfile.TemporaryDirectory(prefix="manifestd-") as folder:
        path, write = context.store_path, False
        if not path.exists():
            # Nothing is stored yet; a plan makes no store.
            path, write = Path(folder) / "empty.db", True
        plan = estimate_run(
            models,
            context.config,
            lambda: open_store(path, write=write),
            own_outputs=context.own_outputs(),
            retry_budget=patience,
            notes=notes,
            errors=errors,
        )
    if form == "json":
        emit_json(plan)
    else:
        emit(_plan_text(plan))
    return 3 if plan.errors else 0


def _plan_text(plan: RunPlan) -> str:
    rows = []
    for model in plan.models:
        for side, cost in model.sides.items():
            if cost.error is not None:
                rows.append((model.name, side, "-", "-", "-", f"cannot: {cost.error.what}"))
                continue
            read = f"{cost.files_to_read} files, {size_text(cost.bytes_to_read)}"
            rows.append(
                (
                    model.name, side, str(cost.requests), read, size_text(cost.bytes_reusable),
                    f"{cost.files} files, {size_text(cost.bytes)} at {cost.reference}",
                )
            )  # fmt: skip
    text = table(rows, ("MODEL", "SIDE", "REQUESTS", "TO READ", "REUSABLE", "WHAT IS THERE"))
    total = (
        f"{plan.requests} requests (tensor headers and redirects come on top), "
        f"{plan.files_to_read} files with {size_text(plan.bytes_to_read)} to read, "
        f"{size_text(plan.bytes_reusable)} known already"
    )
    unsaid = sum(cost.error is not None for model in plan.models for cost in model.sides.values())
    if unsaid:
        total += f"; of {unsaid} sides nothing can be said"
    if plan.errors > unsaid:
        total += "; models may be missing"
    return text + "".join(f"Note: {printable(note)}\n" for note in plan.notes) + total + ".\n"
