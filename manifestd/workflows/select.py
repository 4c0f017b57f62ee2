"""``[[select]]``: the models that a run finds rather than is told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import msgspec

from manifestd.config.shape import HubSelect, Select
from manifestd.errors import ConfigError, ManifestdError, UsageError
from manifestd.model.failure import Failure, failure_of
from manifestd.sources.base import SourceSettings


class Selected(NamedTuple):
    """What ``[[select]]`` entries find.

    Attributes:
        names: Models, each once, in the order of the entries.
        errors: One for each entry that could not be asked to its end; it gives no name.
    """

    names: list[str]
    errors: list[Failure]


def select_models(
    select: Sequence[Select],
    settings: SourceSettings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Selected:
    """Names of the models that ``[[select]]`` entries find now; one failure hides no other.

    Args:
        select: The entries.
        settings: Timeouts and budgets.
        environ: Where ``HF_ENDPOINT`` is looked up.

    Raises:
        UsageError: An entry has no condition at all, or one that no Hub could answer; the
            Hub's address is none.
    """
    from manifestd.sources.hub_discovery import HubDiscovery, HubQuery

    found: dict[str, None] = {}
    errors: list[Failure] = []
    if not select:
        return Selected([], [])
    for number, entry in enumerate(select):
        if entry == Select(hf=HubSelect()):
            raise ConfigError(
                f"select[{number}].hf has no condition: it would find the whole Hub",
                hint="say which models: author, search, tags, collection, or a limit",
                facts={"key": f"select[{number}].hf"},
            )
    with closing(HubDiscovery(settings or SourceSettings(), environ=environ)) as hub:
        for number, entry in enumerate(select):
            hf = entry.hf
            query = HubQuery(
                author=hf.author,
                search=hf.search,
                tags=tuple(hf.tags),
                collection=hf.collection,
                limit=hf.limit,
            )
            try:
                found |= dict.fromkeys(model.name for model in hub.models(query))
            except UsageError:
                raise
            except ManifestdError as error:
                errors.append(_unasked(error, f"select[{number}].hf", entry))
    return Selected(list(found), errors)


def asked_for(entry: Select) -> dict[str, Any]:
    """What an entry asks for: its identity, which does not change when others come or go."""
    asked = msgspec.to_builtins(entry.hf)
    return {"hf": {key: value for key, value in asked.items() if value not in (None, [])}}


def _unasked(error: ManifestdError, key: str, entry: Select) -> Failure:
    """The error of one entry, which it names."""
    failure = failure_of(error)
    return msgspec.structs.replace(
        failure,
        what=f"{key}: {failure.what}",
        facts=failure.facts | {"key": key, "select": asked_for(entry)},
    )
