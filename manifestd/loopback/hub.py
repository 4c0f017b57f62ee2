"""A Hub on loopback: the routes, redirects, errors and headers a client of the real one meets.

For the demo and the tests. It holds repositories given as Python values, keeps a
record of every exchange, and goes wrong on order (:class:`~manifestd.loopback.hub_faults.Faults`)::

    with LoopbackHub() as hub:
        commit = hub.add_repo("org/name", {"config.json": b"{}"})
        ...  # HF_ENDPOINT=hub.endpoint
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from manifestd.errors import UsageError
from manifestd.loopback.hub_faults import Faults
from manifestd.loopback.hub_http import Exchange, OriginServer, Wire
from manifestd.loopback.hub_origin import HubHandler
from manifestd.loopback.hub_repository import Gated, HubFile, LfsRule, Repository
from manifestd.loopback.hub_store import StoreHandler, link_path
from manifestd.model.reference import RepoType


class LoopbackHub:
    """The Hub and the store its redirects lead to, on two ports of 127.0.0.1.

    Thread-safe. Serving starts with construction and ends with :meth:`close`.

    Args:
        page_size: Entries on one page of a listing (the real Hub's: 1,000).
        direct: Serve every file with a plain 200 from the resolve route, as mirrors do.
        absolute_redirects: Renamed repositories redirect to whole URLs, not to paths.
        rate_reset: Seconds to reset that the RateLimit headers state.
    """

    def __init__(
        self,
        *,
        page_size: int = 1000,
        direct: bool = False,
        absolute_redirects: bool = False,
        rate_reset: int = 60,
    ) -> None:
        self.page_size = page_size
        self.direct = direct
        self.rate_reset = rate_reset
        self.tokens: dict[str, frozenset[str]] = {}
        self._absolute = absolute_redirects
        self._lock = threading.RLock()
        self._repos: dict[tuple[RepoType, str], Repository] = {}
        self._renamed: dict[tuple[RepoType, str], str] = {}
        self._links: dict[str, tuple[str, HubFile]] = {}
        self._collections: dict[str, list[tuple[str, str]]] = {}
        self._wire = Wire()
        self._hub = OriginServer(HubHandler, self._wire, self)
        self._store = OriginServer(StoreHandler, self._wire, self)
        self._hub.start()
        self._store.start()
        self._open = True

    # -- for the user -----------------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """What ``HF_ENDPOINT`` must be set to."""
        return self._hub.origin

    @property
    def store_endpoint(self) -> str:
        """The origin that LFS content comes from."""
        return self._store.origin

    @property
    def faults(self) -> Faults:
        """Where to order faults."""
        return self._wire.faults

    @property
    def requests(self) -> list[Exchange]:
        """Every exchange so far, oldest first."""
        return self._wire.log

    def forget_requests(self) -> None:
        """Clear the record of exchanges."""
        self._wire.forget()

    def content_bytes(self, match: str = "") -> int:
        """Bytes of file content sent so far for ``org/name/path`` matching the expression."""
        pattern = re.compile(match)
        return sum(
            exchange.sent
            for exchange in self.requests
            if exchange.file is not None and pattern.search(exchange.file)
        )

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        repo_type: RepoType = "model",
        branch: str = "main",
        lfs: LfsRule | None = None,
        xet: bool = True,
        gated: Gated = False,
        private: bool = False,
        disabled: bool = False,
        card: Mapping[str, Any] | None = None,
        served: Mapping[str, bytes] | None = None,
    ) -> str:
        """Make a repository with one revision; return its commit.

        Args:
            repo_id: ``org/name`` or ``name``.
            files: Content by path.
            repo_type: ``model``, ``dataset`` or ``space``.
            branch: Branch that points to it.
            lfs: Which files are LFS; None goes by suffix and size, as the Hub proposes.
            xet: Whether LFS files carry a Xet hash and come by way of the Xet headers.
            gated: Content needs a token on the list; the listing does not.
            private: Nothing is visible without such a token.
            disabled: The Hub has closed the repository.
            card: ``cardData``; its ``license`` also becomes a tag.
            served: Bytes to serve in place of a file's content: the listing keeps
                declaring ``files``, which is how a corrupted store looks.

        Raises:
            UsageError: The repository exists already.
        """
        with self._lock:
            if (repo_type, repo_id) in self._repos:
                raise UsageError(f"the loopback Hub has {repo_id} already", hint="use add_revision")
            self._repos[repo_type, repo_id] = Repository(
                repo_id,
                repo_type,
                gated=gated,
                private=private,
                disabled=disabled,
                card=card,
            )
            return self.add_revision(
                repo_id,
                files,
                repo_type=repo_type,
                branch=branch,
                lfs=lfs,
                xet=xet,
                served=served,
            )

    def add_revision(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        repo_type: RepoType = "model",
        branch: str = "main",
        lfs: LfsRule | None = None,
        xet: bool = True,
        served: Mapping[str, bytes] | None = None,
    ) -> str:
        """Commit exactly ``files`` and move ``branch`` there; return the commit."""
        with self._lock:
            repo = self._known(repo_type, repo_id)
            commit = repo.commit(files, branch, lfs=lfs, xet=xet, served=served or {})
            for file in repo.revisions[commit].files.values():
                if file.sha256 is not None:
                    self._links[link_path(repo_id, file)] = (f"{repo_id}/{file.path}", file)
            return commit

    def move_branch(
        self, repo_id: str, commit: str, *, branch: str = "main", repo_type: RepoType = "model"
    ) -> None:
        """Point a branch (made if need be) to a commit of the repository."""
        with self._lock:
            self._known(repo_type, repo_id).branches[branch] = commit

    def add_tag(
        self, repo_id: str, tag: str, commit: str, *, repo_type: RepoType = "model"
    ) -> None:
        """Name a commit."""
        with self._lock:
            self._known(repo_type, repo_id).tags[tag] = commit

    def rename(self, old: str, new: str, *, repo_type: RepoType = "model") -> None:
        """Move a repository; its old name redirects from now on."""
        with self._lock:
            repo = self._repos.pop((repo_type, old))
            repo.repo_id = new
            self._repos[repo_type, new] = repo
            self._renamed[repo_type, old] = new
            for revision in repo.revisions.values():
                for file in revision.files.values():
                    self._links[link_path(new, file)] = (f"{new}/{file.path}", file)

    def add_collection(self, slug: str, *items: str, repo_type: str = "model") -> None:
        """Make a collection ``namespace/title``, or add repositories to it."""
        with self._lock:
            self._collections.setdefault(slug, []).extend((repo_type, item) for item in items)

    def add_token(self, token: str, *reads: str) -> None:
        """Make ``token`` valid, with access to these gated or private repositories."""
        with self._lock:
            self.tokens[token] = frozenset(reads)

    def lose_object(self, repo_id: str, path: str) -> None:
        """Delete an LFS file's bytes from the store, while the repository still lists it."""
        with self._lock:
            name = f"{repo_id}/{path}"
            self._links = {link: found for link, found in self._links.items() if found[0] != name}

    def close(self) -> None:
        """Stop both servers. May be called twice."""
        if self._open:
            self._open = False
            self._wire.closing.set()
            self._hub.stop()
            self._store.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- for the handlers -------------------------------------------------------------------

    @property
    def redirect_base(self) -> str:
        """What stands before the path when a renamed repository redirects."""
        return self.endpoint if self._absolute else ""

    def find(self, repo_type: RepoType, repo_id: str) -> Repository | None:
        """The repository of this name now."""
        with self._lock:
            return self._repos.get((repo_type, repo_id))

    def renamed(self, repo_type: RepoType, repo_id: str) -> str | None:
        """The new name of a repository that was moved."""
        with self._lock:
            return self._renamed.get((repo_type, repo_id))

    def may_read(self, token: str | None, repo: Repository) -> bool:
        """Whether a token opens a gated or private repository."""
        return token is not None and repo.repo_id in self.tokens.get(token, frozenset())

    def repositories(self) -> list[Repository]:
        """All repositories, oldest first."""
        with self._lock:
            return list(self._repos.values())

    def collection(self, slug: str) -> list[tuple[str, str]] | None:
        """Type and id of a collection's items."""
        with self._lock:
            found = self._collections.get(slug)
            return None if found is None else list(found)

    def linked(self, path: str) -> tuple[str, HubFile] | None:
        """Name and file behind a path of the store."""
        with self._lock:
            return self._links.get(path)

    def of_xet(self, xet: str) -> tuple[str, HubFile] | None:
        """Name and file of a Xet hash."""
        with self._lock:
            return next((found for found in self._links.values() if found[1].xet == xet), None)

    def _known(self, repo_type: RepoType, repo_id: str) -> Repository:
        repo = self._repos.get((repo_type, repo_id))
        if repo is None:
            raise UsageError(f"the loopback Hub has no {repo_type} {repo_id}")
        return repo
