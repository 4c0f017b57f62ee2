"""Where the sides of configured models are, as their snapshots are filed."""

from __future__ import annotations

from manifestd.config import Config
from manifestd.errors import ConfigError, UsageError
from manifestd.model.reference import parse_reference
from manifestd.rules.mapping import fill


def sides_of(config: Config, name: str) -> dict[str, str]:
    """Side -> place of a model, as its snapshots are filed.

    Raises:
        ConfigError: A template does not fit the model, or makes no reference.
    """
    own = next((model.sides for model in config.model if model.name == name), {})
    found: dict[str, str] = {}
    for side, template in (config.defaults.sides | own).items():
        text = fill(template, name, f"{config.label}: sides.{side}")
        try:
            reference = parse_reference(text if "://" in text else str(config.resolve(text)))
        except UsageError as error:
            raise ConfigError(
                f"{config.label}: sides.{side}: for the model {name}: {error.what}",
                hint=error.hint,
            ) from error
        found[side] = reference.place()
    return found


def place_key(place: str) -> str:
    """What makes two spellings of a place the same."""
    place = place.rstrip("/")
    return place.lower() if place.startswith("hf://") else place


def side_for(config: Config, scheme: str) -> tuple[str, str]:
    """Name and template of the first default side of a scheme; ``hub`` or ``mirror`` without."""
    for side, template in config.defaults.sides.items():
        if template.startswith(scheme):
            return side, template
    return ("hub" if scheme == "hf://" else "mirror"), ""
