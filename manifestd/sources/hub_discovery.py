"""Which models the Hub has: its listing by author, words and tags, and its collections.

Names only and a few facts; no content is read. Pages come from the Hub itself, each once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from manifestd.errors import (
    AccessDeniedError,
    SourceNotFoundError,
    UnreachableError,
    UsageError,
)
from manifestd.model.discovery import FoundModel
from manifestd.model.reference import parse_hub
from manifestd.redact import redact
from manifestd.sources.base import SourceSettings
from manifestd.sources.hub_client import HubClient, decode, endpoint_from
from manifestd.sources.hub_errors import Asked

MAX_MODELS: Final = 100_000
"""Models one query may give; the whole Hub has millions."""

_PAGE: Final = 1000
_FIELDS: Final = (
    "sha", "lastModified", "gated", "private", "disabled", "tags", "usedStorage",
)  # fmt: skip


class HubQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which models: all conditions hold, at most ``limit`` of them.

    Attributes:
        author: User or organisation.
        search: Words in the name.
        tags: Tags of the Hub: ``text-generation``, ``license:mit`` …
        collection: Slug of a collection: ``namespace/title-64f9…``.
    """

    author: str | None = None
    search: str | None = None
    tags: tuple[str, ...] = ()
    collection: str | None = None
    limit: int | None = None


class _Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model in a listing; only ``id`` has to fit."""

    id: str
    sha: Any = None
    last_modified: Any = None
    gated: Any = None
    private: Any = None
    disabled: Any = None
    tags: Any = None
    used_storage: Any = None


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a collection."""

    type: str
    id: str


class _Collection(msgspec.Struct, frozen=True, kw_only=True):
    """A collection."""

    items: list[_Item]


class HubDiscovery:
    """Asks one Hub for its models. Close it.

    Args:
        settings: Timeouts and budgets.
        environ: Where ``HF_ENDPOINT`` is looked up.
        sleep: Waits between tries.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        settings: SourceSettings,
        *,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint_from(os.environ if environ is None else environ)
        self._client = HubClient(self.endpoint, settings, sleep=sleep, clock=clock)

    @property
    def requests(self) -> int:
        """Requests on the wire so far."""
        return self._client.requests

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def models(self, query: HubQuery) -> Iterator[FoundModel]:
        """Yield the models that a query asks for, each once, in the Hub's order.

        Raises:
            UsageError: It has no condition and no limit.
            SourceNotFoundError: There is no such collection.
            AccessDeniedError, RateLimitedError, UnreachableError: As the Hub answers.
        """
        if query == HubQuery():
            raise UsageError(
                "this would list the whole Hub",
                hint="say whose models: --author, --search, --tag, --collection, or a --limit",
            )
        lines = self._listing(query) if query.collection is None else self._collected(query)
        seen: set[str] = set()
        for line in lines:
            if query.limit is not None and len(seen) >= query.limit:
                return
            if len(seen) >= MAX_MODELS:
                raise UnreachableError(
                    f"more than {MAX_MODELS} models answer to this query",
                    hint="narrow it, or give a --limit",
                )
            if line.id not in seen:
                seen.add(line.id)
                yield self._found(line)

    def _listing(self, query: HubQuery) -> Iterator[_Line]:
        conditions: list[tuple[str, str]] = [("filter", tag) for tag in query.tags]
        for name, value in (("author", query.author), ("search", query.search)):
            if value is not None:
                conditions.append((name, value))
        if query.limit is not None:
            conditions.append(("limit", str(min(query.limit, _PAGE))))
        conditions += [("expand", field) for field in _FIELDS]
        url: str | None = f"{self.endpoint}/api/models?{urlencode(conditions)}"
        asked = self._asked("listing", "of models")
        pages: set[str] = set()
        while url is not None:
            answer = self._client.get(url, asked)
            yield from decode(answer, list[_Line], asked)
            pages.add(url)
            url = answer.next
            if url in pages:
                raise UnreachableError("the pages of the Hub's listing go round in circles")

    def _collected(self, query: HubQuery) -> Iterator[_Line]:
        """The models of a collection that meet the other conditions, one request each."""
        slug = query.collection or ""
        asked = self._asked("collection", slug)
        url = f"{self.endpoint}/api/collections/{quote(slug)}"
        fields = urlencode([("expand", field) for field in _FIELDS])
        for item in decode(self._client.get(url, asked), _Collection, asked).items:
            author, words = item.id.partition("/")[0].lower(), (query.search or "").lower()
            if item.type != "model" or words not in item.id.lower():
                continue
            if query.author is not None and author != query.author.lower():
                continue
            one = self._asked("model", item.id)
            try:
                address = f"{self.endpoint}/api/models/{quote(item.id)}?{fields}"
                line = decode(self._client.get(address, one), _Line, one)
            except (AccessDeniedError, SourceNotFoundError):
                # Collections name repositories that not everybody may see.
                line = _Line(id=item.id)
            if set(query.tags) <= set(_texts(line.tags)):
                yield line

    def _found(self, line: _Line) -> FoundModel:
        try:
            reference = parse_hub(f"hf://{line.id}")
        except UsageError as error:
            raise UnreachableError(
                f"{redact(self.endpoint)} lists a name that is none: {line.id[:120]!r}"
            ) from error
        storage = line.used_storage
        return FoundModel(
            name=reference.repo_id,
            reference=str(reference),
            revision=line.sha if isinstance(line.sha, str) else None,
            modified=line.last_modified if isinstance(line.last_modified, str) else None,
            bytes=storage if isinstance(storage, int) and storage >= 0 else None,
            licenses=[
                tag.removeprefix("license:")
                for tag in _texts(line.tags)
                if tag.startswith("license:")
            ],
            gated=bool(line.gated),
            private=line.private is True,
        )

    def _asked(self, kind: str, name: str) -> Asked:
        return Asked(
            endpoint=redact(self.endpoint),
            repo=name,
            kind=kind,
            revision="main",
            token="authorization" in self._client.headers(),
        )


def _texts(value: Any) -> list[str]:
    items = value[:1000] if isinstance(value, list) else []
    return [item[:300] for item in items if isinstance(item, str)]
