"""``run --plan``: what a run would do and cost, by listings alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

import msgspec

from manifestd.config import Config
from manifestd.errors import ManifestdError
from manifestd.model.failure import Failure, failure_of
from manifestd.model.reference import Reference
from manifestd.model.run import PlanModel, PlanSide, RunPlan
from manifestd.sources.base import Shared
from manifestd.store import Store
from manifestd.workflows.company import Company
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.run_doubts import run_doubts
from manifestd.workflows.run_plan import Planned, UnfitModel
from manifestd.workflows.snapshot import estimate_snapshot

WORKERS: Final = 16
"""Listings asked for at once."""


def estimate_run(
    models: Sequence[Planned],
    config: Config,
    open_store: Callable[[], Store],
    *,
    own_outputs: tuple[str, ...] = (),
    retry_budget: float = 120.0,
    notes: Sequence[str] = (),
    errors: Sequence[Failure] = (),
) -> RunPlan:
    """List every side of every model and say what a run would read. Nothing is stored.

    Args:
        models: Which models.
        config: Read mode and ignored files.
        open_store: Opens the store for reading; called once for each model.
        own_outputs: Absolute paths that manifestd itself writes.
        retry_budget: Seconds that one request may spend on retries.
        notes: What a reader must know besides.
        errors: Why models may be missing.
    """
    with closing(Shared()) as shared:
        company = Company(shared=shared)

        def side(reference: Reference, store: Store) -> PlanSide:
            request = SnapshotRequest(
                reference=reference,
                read=config.defaults.read,
                ignore=tuple(config.defaults.ignore),
                own_outputs=own_outputs,
                retry_budget=retry_budget,
            )
            try:
                found = estimate_snapshot(request, store=store, company=company)
            except ManifestdError as error:
                return PlanSide(reference=str(reference), error=failure_of(error))
            values = msgspec.structs.asdict(found)
            values["requests"] += found.files_to_read
            return PlanSide(reference=str(reference), **values)

        def model(planned: Planned) -> PlanModel:
            if isinstance(planned, UnfitModel):
                return _unfit(planned)
            with closing(open_store()) as store:
                sides = {name: side(place, store) for name, place in planned.sides.items()}
            return PlanModel(name=planned.name, sides=sides)

        with ThreadPoolExecutor(min(WORKERS, max(len(models), 1))) as pool:
            found = list(pool.map(model, models))
    with closing(open_store()) as store:
        doubts = run_doubts(config, models, store)
    return _summed(found, errors, [*(error.what for error in errors), *notes, *doubts])


def _summed(models: list[PlanModel], errors: Sequence[Failure], notes: Sequence[str]) -> RunPlan:
    """What the sides cost together."""
    sides = [one for model in models for one in model.sides.values()]
    return RunPlan(
        models=models,
        bytes_to_read=sum(one.bytes_to_read for one in sides),
        bytes_reusable=sum(one.bytes_reusable for one in sides),
        files_to_read=sum(one.files_to_read for one in sides),
        requests=sum(one.requests for one in sides),
        errors=sum(one.error is not None for one in sides) + len(errors),
        notes=[*notes],
    )


def _unfit(planned: UnfitModel) -> PlanModel:
    """A model that would not be asked for: nothing can be said of any side."""
    sides = {
        name: PlanSide(reference=text, error=planned.error) for name, text in planned.sides.items()
    }
    return PlanModel(name=planned.name, sides=sides)
