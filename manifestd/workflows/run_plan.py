"""Which models a run is about, and where their sides are: settled before anything is asked of a source.

What people wrote is judged here, and a mistake in it ends the run. Models that were only found
are in ``run_found``.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from manifestd.config import Config
from manifestd.config.shape import Model
from manifestd.errors import ConfigError, UsageError
from manifestd.model.failure import Failure
from manifestd.model.reference import Reference, S3Reference, parse_reference
from manifestd.rules.globs import matches_any
from manifestd.rules.mapping import PathMap, PathRule, check_places, fill
from manifestd.sources import SOURCES

MAX_LIST: Final = 64 * 1024 * 1024
"""Bytes of a list of models."""


class ListedModel(Model, frozen=True, kw_only=True):
    """A model from a plain list; one that brings its sides has no others.

    Attributes:
        where: The line of the list.
    """

    where: str


class PlannedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model, ready to be run.

    Attributes:
        name: As configured.
        sides: Side -> reference, the reference side first.
        paths: What the reference side calls files of the others; None: the same.
    """

    name: str
    sides: dict[str, Reference]
    paths: PathMap | None = None

    @property
    def reference(self) -> str:
        """Name of the side that the others are compared with."""
        return next(iter(self.sides))


class UnfitModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was found and cannot be run: it has no places, or not for itself.

    Attributes:
        name: As it was found.
        sides: Side -> where that would be; a template that does not fit, as it is written.
        error: Why.
    """

    name: str
    sides: dict[str, str]
    error: Failure

    @property
    def reference(self) -> str:
        """Name of the side that the others would be compared with."""
        return next(iter(self.sides))


Planned = PlannedModel | UnfitModel
"""A model of a run, ready or not."""


def plan_models(config: Config, models: Sequence[Model] | None = None) -> list[PlannedModel]:
    """Settle the sides of models.

    Args:
        config: Has the templates, and the models if none are given.
        models: Models to run instead of the configuration's.

    Raises:
        ConfigError: A template does not fit, a side is no reference, two models or sides
            have one place, path rules contradict each other, a model has fewer than two sides.
    """
    chosen = config.model if models is None else models
    planned: dict[str, PlannedModel] = {}
    for number, model in enumerate(chosen):
        key = f"model[{number}]"
        if model.name in planned:
            raise ConfigError(
                f"{config.label}: {key}.name: {model.name!r} stands there twice",
                hint="remove one of the two",
                facts={"key": f"{key}.name"},
            )
        planned[model.name] = plan_model(config, model, key)
    check_places({name: model.sides for name, model in planned.items()})
    return list(planned.values())


def plan_model(config: Config, model: Model, key: str) -> PlannedModel:
    """Settle the sides of one model, whatever others there are.

    Args:
        config: Has the templates.
        model: Which.
        key: What the configuration calls it, for errors.

    Raises:
        ConfigError: A template does not fit, a side is no reference, path rules contradict
            each other, it has fewer than two sides.
    """
    sides: dict[str, Reference] = {}
    alone = isinstance(model, ListedModel) and bool(model.sides)
    entry = model.where if isinstance(model, ListedModel) else f"{config.label}: {key}"
    templates = model.sides if alone else config.defaults.sides | model.sides
    for side, template in templates.items():
        own = side in model.sides
        where = f"{entry}.sides.{side}" if own else f"{config.label}: defaults.sides.{side}"
        sides[side] = _reference(config, fill(template, model.name, where), model.name, where)
    if len(sides) < 2:
        raise ConfigError(
            f"{entry}: {model.name} has "
            + ("one side, which cannot be compared with anything" if sides else "no sides"),
            hint='give every model its sides: [defaults] sides = { hub = "hf://{name}@main", '
            'mirror = "s3://BUCKET/{name}/" }',
            facts={"key": f"{key}.sides", "model": model.name},
        )
    rules = [PathRule(reference, other) for reference, other in model.paths]
    paths = PathMap(rules, f"{config.label}: {key}.paths") if rules else None
    return PlannedModel(name=model.name, sides=sides, paths=paths)


def _reference(config: Config, text: str, name: str, key: str) -> Reference:
    if "://" not in text:
        text = str(config.resolve(text))
    try:
        found = parse_reference(text)
    except UsageError as error:
        raise ConfigError(
            f"{key}: for the model {name}: {error.what}", hint=error.hint, facts={"key": key}
        ) from error
    # Asking for sources of other packages takes 10 ms; built-in ones need no asking.
    if found.scheme not in SOURCES.members and found.scheme not in SOURCES.names():
        known = ", ".join(f"{scheme}://" for scheme in SOURCES.names())
        raise ConfigError(f"{key}: nothing reads {found.scheme}://", hint=f"known are {known}")
    if isinstance(found, S3Reference) and found.prefix and not found.prefix.endswith("/"):
        # A prefix is a folder; snapshots are filed under it with its slash.
        found = msgspec.structs.replace(found, prefix=found.prefix + "/")
    return found


def only(models: Sequence[Planned], patterns: Sequence[str]) -> list[Planned]:
    """The models whose name matches one of the globs; all of them without any glob.

    Raises:
        UsageError: None does.
    """
    if not patterns:
        return list(models)
    # A name with brackets means itself, too: that is what a report says to run.
    found = [
        model for model in models if model.name in patterns or matches_any(model.name, patterns)
    ]
    if not found:
        names = [model.name for model in models]
        near = difflib.get_close_matches(patterns[0], names, n=1, cutoff=0.4)
        raise UsageError(
            f"no model matches --only {' '.join(patterns)}",
            hint=f"did you mean {near[0]}?" if near else f"there are {len(names)} models",
        )
    return found


def read_models(path: Path) -> list[Model]:
    """Models from a plain list: one name a line, or CSV ``name,left,right``.

    Empty lines and lines that begin with ``#`` are passed over, and so is a CSV header.

    Raises:
        ConfigError: It cannot be read, is too large, not UTF-8, or a line is neither.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_LIST + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_LIST:
        raise ConfigError(f"{path} is too large for a list of models")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    lines: dict[str, str] = {}
    models: list[Model] = []
    for where, row in _rows(text, path):
        model = _listed(row, where)
        if model.name in lines:
            raise ConfigError(
                f"{where}: {model.name!r} stands in {lines[model.name]} already",
                hint="remove one of the two",
            )
        lines[model.name] = where
        models.append(model)
    if not models:
        raise ConfigError(
            f"{path} names no model", hint="write one name a line, or CSV name,left,right"
        )
    return models


def _rows(text: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each line is, and its cells; ends of lines are those of any system."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        where = f"{path} line {number}"
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            row = next(csv.reader(io.StringIO(line.strip()), strict=True))
        except csv.Error as error:
            raise ConfigError(
                f"{where} is no CSV: {error}", hint="close each quote on the line that opens it"
            ) from error
        row = [cell.strip() for cell in row]
        if [cell.lower() for cell in row] != ["name", "left", "right"]:
            yield where, row


def _listed(row: Sequence[str], where: str) -> Model:
    if len(row) == 1:
        return ListedModel(name=row[0], where=where)
    if len(row) != 3 or not all(row):
        raise ConfigError(
            f"{where}: {len(row)} cells",
            hint="write a name, or name,left,right with both references",
        )
    sides = _literal({"left": row[1], "right": row[2]})
    return ListedModel(name=row[0], sides=sides, where=where)


def _literal(sides: Mapping[str, str]) -> dict[str, str]:
    """References as templates that mean themselves."""
    return {side: text.replace("{", "{{").replace("}", "}}") for side, text in sides.items()}
