"""The Hugging Face Hub as a source: one commit, its listing, its bytes.

Two kinds of request: the repository's info (once) and the pages of its tree tell
everything that can be known without content; a streamed GET reads a file. The
branch is resolved once; all else names the commit, and an answer that does not
is an error.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final
from urllib.parse import quote

import msgspec

from manifestd.errors import (
    ChangedError,
    EmptySourceError,
    UnreachableError,
    UnreadableError,
    UsageError,
)
from manifestd.model.content import RandomAccess, Stream
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import HubReference, parse_hub
from manifestd.redact import redact
from manifestd.sources.base import Resolved, Source, SourceSettings
from manifestd.sources.hub_client import DEFAULT_ENDPOINT, HubClient, decode, endpoint_from
from manifestd.sources.hub_errors import Asked
from manifestd.sources.hub_info import HubInfo, facts_of, is_commit, names_of
from manifestd.sources.hub_listing import Listing, Page
from manifestd.sources.hub_stream import HubAccess, open_stream

# Comes with the client's environment settings, so after it.
from huggingface_hub import hf_hub_url  # isort: skip

DEFAULT_REVISION: Final = "main"


class HubSource(Source[HubReference]):
    """A model, dataset or space on the Hub. Thread-safe after :meth:`resolve`.

    Endpoint and token come from where huggingface_hub takes them: ``HF_ENDPOINT``,
    ``HF_TOKEN``, the token file. The token goes to the endpoint's origin only, on
    every hop and every page.

    Args:
        reference: The repository.
        settings: Timeouts and budgets.
        environ: Where ``HF_ENDPOINT`` is looked up.
        sleep: Waits between tries.
        clock: Seconds that only grow, for the retry budget.
    """

    scheme: ClassVar[str] = "hf"

    def __init__(
        self,
        reference: HubReference,
        settings: SourceSettings,
        *,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(reference, settings)
        self.endpoint = endpoint_from(os.environ if environ is None else environ)
        self._client = HubClient(self.endpoint, settings, sleep=sleep, clock=clock)
        self._names: frozenset[str] | None = None

    @property
    def requests(self) -> int:  # type: ignore[override]
        """Requests on the wire so far: redirects, pages and retries included."""
        return self._client.requests

    def resolve(self) -> Resolved:
        """Ask for the repository's info at the revision; see :meth:`Source.resolve`.

        A renamed repository is filed under the name it has now.
        """
        self._client.shared = self.shared
        reference = self.reference
        requested = reference.revision or DEFAULT_REVISION
        asked = self._asked(reference.repo_id, requested)
        url = self._api(reference.repo_id)
        if reference.revision is not None:
            url += f"/revision/{quote(requested, safe='')}"
        info = decode(self._client.get(url, asked), HubInfo, asked)
        now = self._name_now(info, asked)
        commit = info.sha or ""
        if not is_commit(commit):
            raise UnreachableError(
                f"{asked.endpoint} names no commit for {asked.repo} at {requested!r}",
                why=f"it says {commit[:80]!r}" if commit else "the repository may have no commit",
                hint="check HF_ENDPOINT",
            )
        if is_commit(requested) and commit != requested:
            raise ChangedError(f"{asked.endpoint} answers {commit} when asked for {requested}")
        self._names = names_of(info)
        facts = facts_of(info)
        if now.repo_id != reference.repo_id:
            facts["renamedFrom"] = reference.repo_id
        if self.endpoint != DEFAULT_ENDPOINT:
            facts["endpoint"] = asked.endpoint
        return Resolved(
            place=now.place(),
            name=now.repo_id,
            requested=requested,
            revision=commit,
            facts=facts,
            notes=tuple(_notes(info, reference, asked)),
        )

    def list(self, resolved: Resolved) -> Iterator[Entry | Problem]:
        """Yield the commit's files, page by page; see :meth:`Source.list`.

        LFS files carry their declared sha256 (and Xet hash), the others their git id.

        Raises:
            EmptySourceError: The commit holds no file.
        """
        asked = self._asked(resolved.name, _commit(resolved))
        url: str | None = f"{self._api(resolved.name)}/tree/{asked.revision}"
        params: dict[str, str] | None = {"recursive": "true", "expand": "false"}
        listing = Listing(asked.revision, self._names)
        pages: set[str] = set()
        while url is not None:
            answer = self._client.get(url, asked, params)
            for line in decode(answer, Page, asked):
                yield from listing.take(line)
            pages.add(url)
            url, params = answer.next, None
            if url in pages:
                raise UnreachableError(f"the pages of {asked.repo}'s listing go round in circles")
        yield from listing.end()
        if listing.files == 0:
            raise EmptySourceError(f"{resolved.place} holds no file at {asked.revision}")

    def open(self, resolved: Resolved, entry: Entry, offset: int = 0) -> Stream:
        """Open one file of the commit from ``offset``; see :meth:`Source.open`."""
        url, asked = self._file(resolved, entry)
        return open_stream(self._client, url, entry, asked, offset=offset)

    def open_range(self, resolved: Resolved, entry: Entry, offset: int, end: int) -> Stream:
        """Open a part of one file; the Hub sends no more than that."""
        url, asked = self._file(resolved, entry)
        return open_stream(
            self._client, url, entry, asked, offset=offset, length=max(end - offset, 0)
        )

    def peek(self, resolved: Resolved, entry: Entry) -> RandomAccess:
        """Random access by ranged requests, so that no more is sent than is read."""
        url, asked = self._file(resolved, entry)
        return HubAccess(self._client, url, entry, asked)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _file(self, resolved: Resolved, entry: Entry) -> tuple[str, Asked]:
        if entry.problem is not None:
            raise UnreadableError(f"{entry.path!r} cannot be read: {entry.problem.what}")
        asked = self._asked(resolved.name, _commit(resolved), entry.path)
        url = hf_hub_url(
            resolved.name,
            entry.path,
            repo_type=self.reference.repo_type,
            revision=asked.revision,
            endpoint=self.endpoint,
        )
        return url, asked

    def _api(self, name: str) -> str:
        return f"{self.endpoint}/api/{self.reference.repo_type}s/{quote(name)}"

    def _asked(self, name: str, revision: str, path: str | None = None) -> Asked:
        return Asked(
            endpoint=redact(self.endpoint),
            repo=name,
            kind=self.reference.repo_type,
            revision=revision,
            path=path,
            token="authorization" in self._client.headers(),
        )

    def _name_now(self, info: HubInfo, asked: Asked) -> HubReference:
        """The reference under the name the Hub gives, checked like one that a user typed."""
        try:
            now = parse_hub(f"hf://{info.id}")
        except UsageError as error:
            raise UnreachableError(
                f"{asked.endpoint} gives {asked.repo} a name that is none: {info.id[:120]!r}"
            ) from error
        return msgspec.structs.replace(
            now, repo_type=self.reference.repo_type, scheme=self.reference.scheme
        )


def _commit(resolved: Resolved) -> str:
    if resolved.revision is None:
        raise UsageError(f"{resolved.place} has not been resolved to a commit")
    return resolved.revision


def _notes(info: HubInfo, reference: HubReference, asked: Asked) -> Iterator[Problem]:
    prefix = "" if reference.repo_type == "model" else f"{reference.repo_type}s/"
    if info.id != reference.repo_id:
        yield Problem(
            code="renamed",
            what=f"{reference.repo_id} is called {info.id} now",
            hint=f"write hf://{prefix}{info.id}: others may take the old name",
            severity="note",
        )
    if info.gated and not asked.token:
        yield Problem(
            code="gated",
            what=f"{info.id} is gated: its listing is open, its bytes need a token with access",
            hint=f"ask for access at {asked.page()}, then set HF_TOKEN",
            severity="note",
        )
    if info.disabled is True:
        yield Problem(code="disabled", what=f"the Hub has disabled {info.id}", severity="note")
