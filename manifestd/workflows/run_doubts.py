"""What looks like a mistake in the configuration, and may be none: said before a run, not refused.

A path rule that matches nothing is a mistake only if no such file came since anybody looked,
which nobody knows before the listing (docs/adr/0013-path-rules.md).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from manifestd.config import Config
from manifestd.errors import ConfigError
from manifestd.model.reference import HubReference, OciReference, Reference
from manifestd.model.snapshot import Snapshot
from manifestd.rules.mapping import PathMap
from manifestd.store import Store
from manifestd.workflows.listing import Listing, MappedListing, check_used
from manifestd.workflows.run_plan import Planned, UnfitModel


def run_doubts(config: Config, models: Sequence[Planned], store: Store | None) -> list[str]:
    """Notes on names that are probably mistyped and on path rules that have probably gone stale.

    Args:
        config: Where the models stand.
        models: Those that are to be run.
        store: Has the last snapshots of their sides; None: there are none yet.

    Raises:
        TamperedError: A snapshot is not what its record says.
    """
    notes = [*_sides(config, {model.name for model in models}), *_waivers(config, models)]
    if store is not None:
        for model in models:
            notes += _rules(model, store)
    return notes


def _sides(config: Config, names: set[str]) -> Iterator[str]:
    """Sides of one model whose name is nearly that of a side that all models have."""
    common = config.defaults.sides
    for number, model in enumerate(config.model):
        for side in model.sides.keys() - common.keys() if model.name in names else ():
            near = difflib.get_close_matches(side, common, n=1, cutoff=0.8)
            if near:
                yield (
                    f"model[{number}].sides.{side} is one more side of {model.name}, "
                    f"beside {near[0]}, and does not replace it"
                )


def _waivers(config: Config, models: Sequence[Planned]) -> Iterator[str]:
    """Waivers for a model that is nearly called so; they may be for one that is only stored."""
    names = {model.name for model in config.model} | {model.name for model in models}
    for number, waiver in enumerate(config.policy.waiver):
        if waiver.model not in names and (
            near := difflib.get_close_matches(waiver.model, names, n=1, cutoff=0.8)
        ):
            yield (
                f"policy.waiver[{number}] is for {waiver.model}, which is no model of the "
                f"configuration; {near[0]} is"
            )


def _rules(model: Planned, store: Store) -> Iterator[str]:
    """The rules of one model against the last snapshots of its sides, where there are any."""
    if isinstance(model, UnfitModel) or model.paths is None:
        return
    reference, *others = model.sides.items()
    left = _last(store, reference[1])
    if left is None:
        return
    for name, place in others:
        right = _last(store, place)
        problem = None if right is None else _problem(store, left, right, model.paths)
        if right is not None and problem is not None:
            yield (
                f"{model.name}: {problem}, as the last snapshots of {reference[0]} "
                f"({left.captured_at[:10]}) and {name} ({right.captured_at[:10]}) have them: "
                "unless the files have changed since, this model will be an error"
            )


def _problem(store: Store, left: Snapshot, right: Snapshot, paths: PathMap) -> str | None:
    try:
        mapped = MappedListing(store, right, paths)
        check_used(paths, Listing(store, left), mapped)
        mapped.check()
    except ConfigError as error:
        return error.what
    return None


def _last(store: Store, place: Reference) -> Snapshot | None:
    revision = None
    if isinstance(place, HubReference):
        revision = place.revision
    elif isinstance(place, OciReference):
        revision = place.digest or place.tag
    found = store.snapshots.latest(place.place(), revision)
    return None if found is None else found[1]
