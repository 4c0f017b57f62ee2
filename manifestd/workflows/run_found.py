"""Models that ``[[select]]`` found, given places beside those that are written down.

Whoever may publish on the Hub can get a model found. So nothing about a found one may stop
the others: what does not fit, or claims a place of another, is that model's own error. What
people wrote is checked before, and mistakes in it end the run (``run_plan``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from manifestd.config import Config
from manifestd.config.shape import Model
from manifestd.display import some_of
from manifestd.errors import ConfigError
from manifestd.model.failure import failure_of
from manifestd.model.reference import Reference
from manifestd.rules.mapping import check_places, fill, same_place
from manifestd.workflows.run_plan import Planned, PlannedModel, UnfitModel, plan_model

_SPECIMENS: Final = ("organisation/model", "model")
"""Names of both forms that a Hub has."""

_KEY: Final = "[[select]]"
_FEW: Final = 3


def check_templates(config: Config) -> None:
    """Check that ``[defaults] sides`` fits some found model: if none, it is what was written wrong.

    Raises:
        ConfigError: It fits names neither with an organisation nor without.
    """
    wrong: list[ConfigError] = []
    for name in _SPECIMENS:
        try:
            _placed(config, name)
        except ConfigError as error:
            wrong.append(error)
    if len(wrong) == len(_SPECIMENS):
        first = wrong[0]
        raise ConfigError(
            first.what,
            why=first.why or f"models that {_KEY} finds have no sides but those of [defaults]",
            hint=first.hint,
            facts=first.facts,
        )


def plan_found(
    config: Config, written: Sequence[PlannedModel], names: Iterable[str]
) -> list[Planned]:
    """The written models, and the found ones that nobody wrote down, with their places.

    A place that two claim is the written one's. Of two that were only found neither gets it.
    Whom the listing names first, who was there first, or whose files agree with the mirror
    could all be arranged by whoever published the second, and the mirror's verdict would then
    stand under the wrong name; two errors cannot be overlooked, and one ``[[model]]`` ends
    them. Every found model that fits its templates claims its places, also one that is
    refused for another: so neither the order nor what else was found changes who is refused.

    Args:
        config: Has the templates.
        written: The models of ``[[model]]``, as they were planned.
        names: What ``[[select]]`` found.
    """
    there = {model.name for model in written}
    found = [_found(config, name) for name in dict.fromkeys(names) if name not in there]
    owners = _places(written)
    claims = _places(model for model in found if isinstance(model, PlannedModel))
    return [*written, *(_owning(model, owners, claims) for model in found)]


_Places = dict[tuple[str, str], list[str]]


def _places(models: Iterable[PlannedModel]) -> _Places:
    """Side and place -> the models that claim it."""
    found: _Places = {}
    for model in models:
        for side, reference in model.sides.items():
            found.setdefault((side, same_place(reference)), []).append(model.name)
    return found


def _placed(config: Config, name: str) -> PlannedModel:
    """A found model with its places, none of which is two of its own."""
    planned = plan_model(config, Model(name=name), _KEY)
    check_places({name: planned.sides})
    return planned


def _found(config: Config, name: str) -> Planned:
    try:
        return _placed(config, name)
    except ConfigError as error:
        wrong = ConfigError(
            error.what,
            why=error.why or f"{_KEY} found it, and it does not fit [defaults] sides",
            hint=f"write it as a [[model]] with sides of its own, or give {_KEY} conditions "
            "that do not find it",
            facts={"model": name} | error.facts,
        )
        return UnfitModel(name=name, sides=_texts(config, name), error=failure_of(wrong))


def _texts(config: Config, name: str) -> dict[str, str]:
    """Where the sides would be; the template itself where it cannot be filled."""
    texts = dict(config.defaults.sides)
    for side, template in texts.items():
        try:
            texts[side] = fill(template, name, side)
        except ConfigError:
            continue
    return texts


def _owning(model: Planned, owners: _Places, claims: _Places) -> Planned:
    """The model, unless one of its places is another's or nobody's."""
    if isinstance(model, UnfitModel):
        return model
    for side, reference in model.sides.items():
        key = (side, same_place(reference))
        owned = key in owners
        rivals = owners[key] if owned else [name for name in claims[key] if name != model.name]
        if rivals:
            error = _collision(model.name, side, reference, rivals, owned=owned)
            texts = {name: str(place) for name, place in model.sides.items()}
            return UnfitModel(name=model.name, sides=texts, error=failure_of(error))
    return model


def _collision(
    name: str, side: str, reference: Reference, rivals: list[str], *, owned: bool
) -> ConfigError:
    those = some_of(rivals, _FEW) + (" of [[model]]" if owned else "")
    return ConfigError(
        f"{name}, which {_KEY} found, and {those} have one place on the side {side}: {reference}",
        why=f"what is written counts, what {_KEY} finds does not"
        if owned
        else f"{_KEY} found them all, so nothing says whose place it is",
        hint="write whichever is right as a [[model]], and give the other a place of its own "
        f"there, or conditions in {_KEY} that do not find it",
        facts={"models": [name, *rivals], "side": side, "place": str(reference)},
    )
