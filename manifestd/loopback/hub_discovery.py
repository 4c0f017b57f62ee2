"""Listings over the loopback Hub's repositories: which models there are, and what collections hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manifestd.loopback.hub_repository import Repository


def model_line(repo: Repository, expand: Sequence[str]) -> dict[str, Any]:
    """A repository's line in a listing; ``expand`` names the fields that are wanted."""
    revision = repo.find("main")
    line: dict[str, Any] = {"_id": repo.repo_id, "id": repo.repo_id, "modelId": repo.repo_id}
    if revision is None:
        return line
    info = repo.info(revision, blobs=False)
    info["usedStorage"] = sum(file.size for file in revision.files.values())
    wanted = expand or ("author", "private", "gated", "tags", "downloads", "likes", "createdAt")
    return line | {name: info[name] for name in wanted if name in info}


def matching(repos: Iterable[Repository], query: Mapping[str, Sequence[str]]) -> list[Repository]:
    """The model repositories that a query of ``/api/models`` asks for, all conditions together."""
    author, search = (query.get(key, [""])[-1].lower() for key in ("author", "search"))
    return [
        repo
        for repo in repos
        if repo.repo_type == "model"
        and (not author or repo.repo_id.lower().partition("/")[0] == author)
        and search in repo.repo_id.lower()
        and set(query.get("filter", ())) <= set(repo.labels())
    ]


def collection_document(slug: str, items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The document of ``/api/collections/<slug>``.

    Args:
        slug: ``namespace/title-with-an-id``.
        items: Type (``model``, ``dataset``, ``paper`` …) and id of each.
    """
    return {
        "slug": slug,
        "title": slug.rpartition("/")[2],
        "owner": {"name": slug.partition("/")[0]},
        "items": [
            {"_id": f"{number:024x}", "type": kind, "id": name, "position": number}
            for number, (kind, name) in enumerate(items)
        ],
        "lastUpdated": "2026-01-01T00:00:00.000Z",
        "position": 0,
        "private": False,
        "theme": "blue",
        "upvotes": 0,
    }
