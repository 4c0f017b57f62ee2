"""``discover``: what is there and not on the list, and the other way round.

The sources say what they have, the store what was mirrored, the configuration what should be:
this joins the three, and writes ``[[model]]`` entries for what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from manifestd.config import Config
from manifestd.model.digest import short
from manifestd.model.discovery import Discovery, FoundModel, Gap
from manifestd.model.reference import S3Reference
from manifestd.sources.base import SourceSettings
from manifestd.store import Store
from manifestd.store.rows import Row
from manifestd.workflows.proposals import named, proposals
from manifestd.workflows.sides import place_key, side_for, sides_of

if TYPE_CHECKING:
    from manifestd.sources.hub_discovery import HubQuery


def discover_hub(
    query: HubQuery,
    config: Config,
    store: Store | None,
    settings: SourceSettings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Discovery:
    """Models on the Hub, held against configuration and store.

    Args:
        query: Which.
        config: Says which models there should be, and where their sides are.
        store: Says what was mirrored; None: nothing was.
        settings: Timeouts and budgets.
        environ: Where ``HF_ENDPOINT`` is looked up.

    Raises:
        UsageError: The query would list the whole Hub.
        ConfigError: A model's side cannot be made of its template.
        ManifestdError: The Hub does not answer, or refuses.
    """
    from manifestd.redact import redact
    from manifestd.sources.hub_discovery import HubDiscovery

    with closing(HubDiscovery(settings or SourceSettings(), environ=environ)) as hub:
        found = list(hub.models(query))
        endpoint = redact(hub.endpoint)
    # Only a query for all models of an author can show that one is gone.
    narrowed = query.search or query.tags or query.collection or query.limit
    under = None if query.author is None or narrowed else f"hf://{query.author.lower()}/"
    conditions = {key: value for key, value in msgspec.to_builtins(query).items() if value}
    return _Coverage(config, store, found, under).document(endpoint, conditions, [])


def discover_s3(
    reference: S3Reference,
    config: Config,
    store: Store | None,
    settings: SourceSettings | None = None,
) -> Discovery:
    """Folders in S3 that look like models, held against configuration and store.

    Args:
        reference: Bucket and prefix.
        config: Says which models there should be, and where their sides are.
        store: Says what was seen before; None: nothing was.
        settings: Timeouts, budgets and S3's own options.

    Raises:
        EmptySourceError: There is no object below the prefix.
        ConfigError: A model's side cannot be made of its template.
        ManifestdError: S3 does not answer, or refuses.
    """
    from manifestd.sources.s3_discovery import find_folders

    found, strays = find_folders(reference, settings or SourceSettings())
    side, template = side_for(config, "s3://")
    called = [msgspec.structs.replace(model, name=named(model, template)) for model in found]
    count = "1 object is" if strays == 1 else f"{strays} objects are"
    notes = [f"{count} in no folder that looks like a model"] if strays else []
    place = reference.place()
    place = place if place.endswith("/") else place + "/"
    return _Coverage(config, store, called, place, side).document(place, {"prefix": place}, notes)


class _Coverage:
    """Source, list and store, joined by place.

    Args:
        config: The list.
        store: What was mirrored.
        found: What the source has.
        under: Configured places that begin so are gone when they were not found; None: none is.
        side: What the source's side is called in proposals.
    """

    def __init__(
        self,
        config: Config,
        store: Store | None,
        found: list[FoundModel],
        under: str | None,
        side: str | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.found = found
        self.under = under
        self.side = side or side_for(config, "hf://")[0]
        self.sides = {model.name: sides_of(config, model.name) for model in config.model}
        self.models = {
            place_key(place): name for name, sides in self.sides.items() for place in sides.values()
        }
        self.latest: dict[str, Row] = {}
        for row in store.snapshots.list() if store else ():
            self.latest.setdefault(place_key(row.source), row)

    def document(self, source: str, query: dict[str, Any], notes: list[str]) -> Discovery:
        """All gaps, and proposals for what the list lacks."""
        hub = not source.startswith("s3://")
        missing = [model for model in self.found if self._model(model) is None]
        return Discovery(
            source=source,
            query=query,
            found=self.found,
            proposals=proposals(self.config, missing, self.side),
            not_mirrored=list(self._not_mirrored(missing if hub else [])),
            not_listed=list(self._not_listed(missing, mirrored=not hub)),
            gone=list(self._gone()),
            disagree=list(self._disagree()),
            notes=notes,
        )

    def _model(self, found: FoundModel) -> str | None:
        """The configured model that a found one is a side of."""
        return self.models.get(place_key(found.reference))

    # -- gaps -------------------------------------------------------------------------------

    def _not_mirrored(self, missing: Iterable[FoundModel]) -> Iterator[Gap]:
        """On the Hub and not on the list; on the list with a side of which there is no snapshot."""
        for model in missing:
            yield Gap(
                name=model.name,
                what="is on the Hub and not in the configuration",
                hint="add the proposed [[model]] entry",
                facts={"reference": model.reference},
            )
        for name in dict.fromkeys(filter(None, map(self._model, self.found))):
            unseen = {
                side: place
                for side, place in self.sides[name].items()
                if place_key(place) not in self.latest
            }
            if unseen:
                which = ", ".join(f"{side} ({place})" for side, place in unseen.items())
                yield Gap(
                    name=name,
                    what=f"has no snapshot of {which}",
                    hint=f"manifestd run --only {name}",
                    facts={"sides": unseen},
                )

    def _not_listed(self, missing: Sequence[FoundModel], *, mirrored: bool) -> Iterator[Gap]:
        """Mirrored or stored, and in no entry of the list."""
        told = {place_key(model.reference) for model in missing}
        for model in missing if mirrored else ():
            yield Gap(
                name=model.name,
                what=f"{model.reference} is mirrored and not in the configuration",
                hint="add the proposed [[model]] entry, or delete the copy",
                facts={"reference": model.reference},
            )
        for place, row in sorted(self.latest.items()):
            if place not in self.models and place not in told:
                yield Gap(
                    name=row.name,
                    what=f"{row.source} was snapshotted and is a side of no configured model",
                    hint="add a [[model]] entry, or leave it",
                    facts={"source": row.source, "snapshot": row.digest},
                )

    def _gone(self) -> Iterator[Gap]:
        """Configured below what was looked at, and not found there."""
        if self.under is None:
            return
        here = {place_key(model.reference) for model in self.found}
        for name, sides in self.sides.items():
            for side, place in sides.items():
                if f"{place_key(place)}/".startswith(self.under) and place_key(place) not in here:
                    yield Gap(
                        name=name,
                        what=f"{side} ({place}) is configured and not there",
                        hint="check the name and what the credentials may see",
                        facts={"side": side, "place": place},
                    )

    def _disagree(self) -> Iterator[Gap]:
        """Found models whose sides hold different revisions, or an older one than the Hub has now."""
        current = {place_key(model.reference): model.revision for model in self.found}
        for name in dict.fromkeys(filter(None, map(self._model, self.found))):
            rows = {
                side: row
                for side, place in self.sides[name].items()
                if (row := self.latest.get(place_key(place))) is not None
            }
            moved = [
                (side, row, now)
                for side, row in rows.items()
                if (now := current.get(place_key(row.source)))
                and row.revision not in {None, now}
                # A side pinned to a tag or a commit is meant to stay behind.
                and row.requested in {None, "main"}
            ]
            for side, row, now in moved:
                yield Gap(
                    name=name,
                    what=f"the Hub is at {now[:12]}, the last snapshot of {side} is of"
                    f" {(row.revision or '')[:12]} ({row.captured_at[:10]})",
                    hint=f"manifestd run --only {name}",
                    facts={"side": side, "now": now, "stored": row.revision},
                )
            if len({row.manifest for row in rows.values()}) > 1:
                yield self._different(name, rows)

    def _different(self, name: str, rows: Mapping[str, Row]) -> Gap:
        holds = {side: self._holds(row) for side, row in rows.items()}
        references = list(rows.values())
        return Gap(
            name=name,
            what="its sides do not hold the same: "
            + ", ".join(f"{side} {text}" for side, text in holds.items()),
            hint=f"manifestd diff {references[0].source} {references[-1].source}",
            facts={
                side: {"snapshot": row.digest, "manifest": row.manifest, "revision": row.revision}
                for side, row in rows.items()
            },
        )

    def _holds(self, row: Row) -> str:
        """What a side holds, as a revision where some side with revisions held just that."""
        if row.revision is not None:
            return row.revision[:12]
        if row.manifest is None or self.store is None:
            return "an incomplete set of files"
        for other in self.store.snapshots.with_manifest(row.manifest):
            if other.revision is not None:
                return f"{other.revision[:12]} (as {other.source} did)"
        return f"manifest {short(row.manifest)}, which no known revision has"
