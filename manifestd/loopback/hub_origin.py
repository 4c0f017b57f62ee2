"""The first origin of the loopback Hub: its API and its resolve route."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final, NoReturn, cast
from urllib.parse import parse_qs, quote, urlencode

from manifestd.loopback.hub_discovery import collection_document, matching, model_line
from manifestd.loopback.hub_http import OriginHandler
from manifestd.loopback.hub_repository import (
    HubFile,
    Repository,
    Revision,
    tree_item,
    tree_items,
)
from manifestd.loopback.hub_store import link_path, signed_query
from manifestd.loopback.hub_xet import access_headers
from manifestd.model.reference import RepoType

if TYPE_CHECKING:
    from manifestd.loopback.hub import LoopbackHub

_KINDS: Final[dict[str, RepoType]] = {"models": "model", "datasets": "dataset", "spaces": "space"}
_API_ROUTES: Final = ("revision", "tree", "refs", "paths-info", "auth-check", "xet-read-token")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")
_DISABLED: Final = "Access to this resource is disabled."


class _Answered(Exception):  # noqa: N818  (not an error: the answer is out, unwind)
    """The request has been answered in a nested call."""


class HubHandler(OriginHandler):
    """Answers as the Hub does: who may see what, under which name, at which revision."""

    @property
    def _house(self) -> LoopbackHub:
        return cast("LoopbackHub", self.server.house)

    def common_headers(self) -> dict[str, str]:
        """Rate limit headers stand on every answer of the Hub."""
        group = "api" if self.segments[0] == "api" else "resolvers"
        left = 0 if self.exchange.status == 429 else 499
        return {
            "RateLimit": f'"{group}";r={left};t={self._house.rate_reset}',
            "RateLimit-Policy": f'"fixed window";"{group}";q=500;w=300',
        }

    def answer(self) -> None:
        """Route one request."""
        with contextlib.suppress(_Answered):
            self._route()

    def _route(self) -> None:
        parts = self.segments
        if parts == ["api", "agent-harnesses"]:
            self.send_json({"harnesses": {}, "standardEnvVars": []})
        elif parts == ["api", "models"]:
            self._models()
        elif parts[:2] == ["api", "collections"]:
            self._collection("/".join(parts[2:]))
        elif parts[:2] == ["api", "resolve-cache"] and len(parts) > 5 and parts[2] in _KINDS:
            at = 4 if _COMMIT.match(parts[4]) else 5
            repo = self._visible(_KINDS[parts[2]], "/".join(parts[3:at]))
            self._content(repo, parts[at], "/".join(parts[at + 1 :]), cached=True)
        elif parts[0] == "api" and len(parts) > 2 and parts[1] in _KINDS:
            end = next((i for i in (3, 4) if parts[i : i + 1] and parts[i] in _API_ROUTES), None)
            repo = self._visible(_KINDS[parts[1]], "/".join(parts[2:end]))
            self._api(repo, parts[end:] if end else [])
        else:
            self._route_files(parts)

    def _route_files(self, parts: list[str]) -> None:
        """``[datasets/|spaces/]<id>/(resolve|raw)/<revision>/<path>``."""
        kind: RepoType = "model"
        if parts[0] in ("datasets", "spaces"):
            kind, parts = _KINDS[parts[0]], parts[1:]
        at = next((i for i in (1, 2) if parts[i : i + 1] in (["resolve"], ["raw"])), None)
        if at is None or len(parts) < at + 3:
            self._refuse(404, None, "Not Found")
        repo = self._visible(kind, "/".join(parts[:at]))
        self._check_gate(repo)
        path = "/".join(parts[at + 2 :])
        if parts[at] == "raw":
            self._raw(repo, parts[at + 1], path)
        else:
            self._content(repo, parts[at + 1], path, cached=False)

    # -- who may see what -------------------------------------------------------------------

    def _token(self) -> str | None:
        value = self.exchange.headers.get("authorization", "")
        return value.removeprefix("Bearer ") or None

    def _checked_token(self) -> str | None:
        token = self._token()
        if token is not None and token not in self._house.tokens:
            self._refuse(401, None, "Invalid credentials in Authorization header")
        return token

    def _visible(self, kind: RepoType, name: str) -> Repository:
        token = self._checked_token()
        renamed = self._house.renamed(kind, name)
        if renamed is not None:
            location = self._house.redirect_base + self.exchange.target.replace(
                f"/{name}", f"/{renamed}", 1
            )
            self.send(307, {"Location": location}, b"Temporary Redirect. Redirecting\n")
            raise _Answered
        repo = self._house.find(kind, name)
        if repo is None or (repo.private and not self._house.may_read(token, repo)):
            if token is None:
                self._refuse(401, None, "Invalid username or password.")
            self._refuse(404, "RepoNotFound", "Repository not found")
        if repo.disabled:
            self._refuse(403, None, _DISABLED)
        return repo

    def _check_gate(self, repo: Repository) -> None:
        if repo.gated and not self._house.may_read(self._token(), repo):
            what = f"Access to {repo.repo_type} {repo.repo_id} is restricted."
            self._refuse(403 if self._token() else 401, "GatedRepo", what)

    def _refuse(self, status: int, code: str | None, message: str) -> NoReturn:
        headers = {"X-Error-Message": message, "X-Request-Id": "Root=1-loopback"}
        if code:
            headers["X-Error-Code"] = code
        self.send_json({"error": message}, status=status, headers=headers)
        raise _Answered

    # -- the API ----------------------------------------------------------------------------

    def _api(self, repo: Repository, rest: list[str]) -> None:
        route = rest[0] if rest else "revision"
        name = rest[1] if len(rest) > 1 else "main"
        if route == "revision":
            blobs = self.query.get("blobs") in {"true", "True", "1"}
            self.send_json(repo.info(self._revision(repo, name), blobs=blobs))
        elif route == "tree":
            self._tree(self._revision(repo, name), "/".join(rest[2:]))
        elif route == "refs":
            self.send_json(repo.refs(pull_requests="include_prs" in self.query))
        elif route == "paths-info":
            revision = self._revision(repo, name)
            asked = parse_qs(self.body.decode()).get("paths", [])
            found = [tree_item(revision.files[path]) for path in asked if path in revision.files]
            self.send_json(found)
        elif route == "auth-check":
            self._check_gate(repo)
            self.send(200, {}, b"OK")
        else:
            self._revision(repo, name)
            self._check_gate(repo)
            self.send_json({}, headers=access_headers(self._house.store_endpoint))

    def _models(self) -> None:
        token = self._checked_token()
        query = parse_qs(self.exchange.target.partition("?")[2])
        house = self._house
        found = [
            repo
            for repo in matching(house.repositories(), query)
            if not repo.private or house.may_read(token, repo)
        ]
        start = int(self.query.get("cursor", "0"))
        size = min(house.page_size, int(self.query.get("limit", house.page_size)))
        expand = query.get("expand", ())
        self.send_json(
            [model_line(repo, expand) for repo in found[start : start + size]],
            headers=self._next_page(start + size, len(found)),
        )

    def _collection(self, slug: str) -> None:
        self._checked_token()
        items = self._house.collection(slug)
        if items is None:
            self._refuse(404, None, "Collection not found")
        self.send_json(collection_document(slug, items))

    def _next_page(self, start: int, total: int) -> dict[str, str]:
        """The header that leads to the page from ``start`` on, if there is one."""
        if "next" in self.struck:
            return {"Link": f'<{self.struck["next"].argument}>; rel="next"'}
        if start >= total or "last-page" in self.struck:
            return {}
        query = parse_qs(self.exchange.target.partition("?")[2]) | {"cursor": [str(start)]}
        path = self.exchange.target.partition("?")[0]
        link = f"{self._house.endpoint}{path}?{urlencode(query, doseq=True)}"
        return {"Link": f'<{link}>; rel="next"'}

    def _revision(self, repo: Repository, name: str) -> Revision:
        revision = repo.find(name)
        if revision is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {name}")
        return revision

    def _tree(self, revision: Revision, folder: str) -> None:
        if folder and folder not in revision.folders:
            self._refuse(404, "EntryNotFound", f"{folder} does not exist on this revision")
        recursive = self.query.get("recursive", "").lower() in {"true", "1"}
        items = tree_items(revision, folder, recursive=recursive)
        start = int(self.query.get("cursor", "0"))
        size = self._house.page_size
        headers = self._next_page(start + size, len(items))
        self.send_json(items[start : start + size], headers=headers)

    # -- content ----------------------------------------------------------------------------

    def _entry(self, repo: Repository, name: str, path: str) -> tuple[Revision, HubFile]:
        revision = self._revision(repo, name)
        file = revision.files.get(path)
        if file is None:
            self._refuse(404, "EntryNotFound", f"{path} does not exist on {name}")
        return revision, file

    def _raw(self, repo: Repository, name: str, path: str) -> None:
        revision, file = self._entry(repo, name, path)
        headers = {"X-Repo-Commit": revision.commit, "ETag": f'"{file.blob_id}"'}
        self.send(200, headers, file.served if file.pointer is None else file.pointer)

    def _content(self, repo: Repository, name: str, path: str, *, cached: bool) -> None:
        revision, file = self._entry(repo, name, path)
        commit = revision.commit
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if "other-commit" in self.struck:
            headers["X-Repo-Commit"] = commit[::-1]
        if "no-commit" in self.struck:
            del headers["X-Repo-Commit"]
        full_name = f"{repo.repo_id}/{path}"
        if file.sha256 is not None and not self._house.direct:
            self._redirect_to_store(repo, file, headers)
        elif cached or self._house.direct:
            etag = file.sha256 or file.blob_id
            self.send_content(full_name, file.served, {**headers, "ETag": f'"{etag}"'})
        else:
            kind = f"{repo.repo_type}s"
            where = f"/api/resolve-cache/{kind}/{repo.repo_id}/{commit}/{quote(path, safe='')}"
            link = f"{where}?{urlencode({path: '', 'etag': file.blob_id})}"
            text = f"Temporary Redirect. Redirecting to {where}\n".encode()
            linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.blob_id}"'}
            self.send(307, {**headers, **linked, "Location": link}, text)

    def _redirect_to_store(self, repo: Repository, file: HubFile, headers: dict[str, str]) -> None:
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
        if file.xet is not None:
            route = f"/api/{repo.repo_type}s/{repo.repo_id}/xet-read-token/"
            link = f"{self._house.endpoint}{route}{headers.get('X-Repo-Commit', '')}"
            headers |= {"X-Xet-Hash": file.xet, "Link": f'<{link}>; rel="xet-auth"'}
        path = link_path(repo.repo_id, file)
        location = f"{self._house.store_endpoint}{path}?{signed_query(path)}"
        self.send(302, {**headers, "Location": location}, b"Found. Redirecting\n")
