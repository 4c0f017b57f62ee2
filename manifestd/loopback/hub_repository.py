"""Repositories of the loopback Hub: git objects without git, LFS pointers, several revisions.

Blob, tree and commit ids are computed as git computes them, so a client that
recomputes one finds it true. Only the Xet hash is made up: any 64 hex digits do,
because no client of the loopback Hub recomputes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal

import msgspec

from manifestd.errors import UsageError
from manifestd.model.reference import RepoType

Gated = Literal["auto", "manual", False]
LfsRule = Callable[[str, bytes], bool] | Collection[str] | int
"""Which files are LFS: a function of path and bytes, a set of paths, or a least size."""

_LFS_SUFFIXES: Final = (
    ".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".msgpack",
    ".parquet", ".npz", ".pkl", ".zip", ".model",
)  # fmt: skip
_LFS_SIZE: Final = 10 * 1024 * 1024


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file at one revision.

    Attributes:
        path: Path in the repository.
        size: Listed size in bytes.
        blob_id: Git id of what git stores: the content, or the LFS pointer.
        pointer: The LFS pointer text; None for a regular file.
        sha256: Declared sha256 of an LFS file.
        xet: Declared Xet hash.
        served: The bytes that are served, normally the content.
    """

    path: str
    size: int
    blob_id: str
    pointer: bytes | None
    sha256: str | None
    xet: str | None
    served: bytes


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One commit: its id, its files by path, its folders' tree ids by path."""

    commit: str
    files: dict[str, HubFile]
    folders: dict[str, str]


class Repository:
    """One repository with its revisions. Not thread-safe: the Hub that holds it locks."""

    def __init__(
        self,
        repo_id: str,
        repo_type: RepoType,
        *,
        gated: Gated = False,
        private: bool = False,
        disabled: bool = False,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self.repo_id = repo_id
        self.repo_type = repo_type
        self.gated = gated
        self.private = private
        self.disabled = disabled
        self.card = dict(card or {})
        self.revisions: dict[str, Revision] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}

    def commit(
        self,
        files: Mapping[str, bytes],
        branch: str,
        *,
        lfs: LfsRule | None,
        xet: bool,
        served: Mapping[str, bytes],
    ) -> str:
        """Add a revision that holds exactly ``files`` and move ``branch`` to it."""
        listed = {
            path: _file(path, content, lfs=lfs, xet=xet, served=served.get(path, content))
            for path, content in files.items()
        }
        root, folders = _trees(listed)
        parent = self.branches.get(branch)
        number = len(self.revisions)
        author = f"loopback <loopback@localhost> {1_767_225_600 + number} +0000"
        text = f"tree {root}\n" + (f"parent {parent}\n" if parent else "")
        text += f"author {author}\ncommitter {author}\n\nRevision {number}\n"
        commit = _git_id("commit", text.encode())
        self.revisions[commit] = Revision(commit=commit, files=listed, folders=folders)
        self.branches[branch] = commit
        return commit

    def find(self, name: str) -> Revision | None:
        """The revision called ``name``: branch, tag or whole commit id."""
        target = self.branches.get(name) or self.tags.get(name) or name
        return self.revisions.get(target)

    def info(self, revision: Revision, *, blobs: bool) -> dict[str, Any]:
        """The document of ``/api/<type>s/<id>``, as far as clients look at it."""
        stamp = f"2026-01-01T00:00:{len(self.revisions) % 60:02d}.000Z"
        return {
            "_id": hashlib.sha256(self.repo_id.encode()).hexdigest()[:24],
            "id": self.repo_id,
            "author": self.repo_id.partition("/")[0],
            "sha": revision.commit,
            "private": self.private,
            "gated": self.gated,
            "disabled": self.disabled,
            "lastModified": stamp,
            "createdAt": "2026-01-01T00:00:00.000Z",
            "downloads": 0,
            "likes": 0,
            "tags": self.labels(),
            "cardData": self.card,
            "siblings": [_sibling(file, blobs=blobs) for file in revision.files.values()],
        }

    def labels(self) -> list[str]:
        """The tags that the Hub makes of a card, by which its listing can be filtered."""
        found = [self.card.get("pipeline_tag"), self.card.get("library_name")]
        for key, prefix in (("tags", ""), ("license", "license:")):
            value = self.card.get(key)
            names = value if isinstance(value, list) else [value]
            found += [f"{prefix}{name}" for name in names if isinstance(name, str)]
        return [name for name in found if isinstance(name, str)]

    def refs(self, *, pull_requests: bool) -> dict[str, Any]:
        """The document of ``/refs``."""
        requests = {k: v for k, v in self.branches.items() if k.startswith("refs/")}
        branches = {k: v for k, v in self.branches.items() if k not in requests}
        found: dict[str, Any] = {
            "branches": [_ref(k, f"refs/heads/{k}", v) for k, v in branches.items()],
            "converts": [],
            "tags": [_ref(k, f"refs/tags/{k}", v) for k, v in self.tags.items()],
        }
        if pull_requests:
            found["pullRequests"] = [_ref(k, k, v) for k, v in requests.items()]
        return found


def tree_item(file: HubFile) -> dict[str, Any]:
    """A file's line in a tree listing."""
    item: dict[str, Any] = {
        "type": "file",
        "oid": file.blob_id,
        "size": file.size,
        "path": file.path,
    }
    if file.pointer is not None:
        item["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    if file.xet is not None:
        item["xetHash"] = file.xet
    return item


def tree_items(revision: Revision, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """A tree listing in the Hub's order: folders and what is below first, root files late.

    Folders are listed too.
    """
    prefix = f"{folder}/" if folder else ""
    items: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    for path, tree_id in revision.folders.items():
        if path.startswith(prefix) and (recursive or "/" not in path[len(prefix) :]):
            line = {"type": "directory", "oid": tree_id, "size": 0, "path": path}
            items.append((_order(path, is_folder=True), line))
    for path, file in revision.files.items():
        if path.startswith(prefix) and (recursive or "/" not in path[len(prefix) :]):
            items.append((_order(path, is_folder=False), tree_item(file)))
    return [line for _, line in sorted(items, key=lambda pair: pair[0])]


def _order(path: str, *, is_folder: bool) -> tuple[Any, ...]:
    *parents, name = path.split("/")
    return (*((0, part) for part in parents), (0 if is_folder else 1, name))


def _file(path: str, content: bytes, *, lfs: LfsRule | None, xet: bool, served: bytes) -> HubFile:
    if not _is_lfs(path, content, lfs):
        return HubFile(
            path=path,
            size=len(content),
            blob_id=_git_id("blob", content),
            pointer=None,
            sha256=None,
            xet=None,
            served=served,
        )
    sha256 = hashlib.sha256(content).hexdigest()
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
    ).encode()
    return HubFile(
        path=path,
        size=len(content),
        blob_id=_git_id("blob", pointer),
        pointer=pointer,
        sha256=sha256,
        xet=hashlib.sha256(b"xet" + content).hexdigest() if xet else None,
        served=served,
    )


def _is_lfs(path: str, content: bytes, rule: LfsRule | None) -> bool:
    if rule is None:
        return path.endswith(_LFS_SUFFIXES) or len(content) >= _LFS_SIZE
    if isinstance(rule, int):
        return len(content) >= rule
    if callable(rule):
        return rule(path, content)
    return path in rule


def _trees(files: Mapping[str, HubFile]) -> tuple[str, dict[str, str]]:
    """The root tree's id, and every folder's path with its tree id."""
    children: dict[str, dict[bytes, tuple[bytes, str]]] = {"": {}}
    for path, file in files.items():
        folder, _, name = path.rpartition("/")
        children.setdefault(folder, {})[name.encode()] = (b"100644", file.blob_id)
        while folder:
            folder = folder.rpartition("/")[0]
            children.setdefault(folder, {})
    ids: dict[str, str] = {}
    for folder in sorted(children, key=lambda name: (-name.count("/") if name else 1, name)):
        lines = sorted(
            children[folder].items(), key=lambda item: item[0] + b"/" * (item[1][0] == b"40000")
        )
        body = b"".join(
            mode + b" " + name + b"\0" + bytes.fromhex(oid) for name, (mode, oid) in lines
        )
        ids[folder] = _git_id("tree", body)
        if folder:
            above, _, name = folder.rpartition("/")
            if name.encode() in children[above]:
                raise UsageError(f"{folder!r} is a file and a folder: git cannot hold that")
            children[above][name.encode()] = (b"40000", ids[folder])
    return ids.pop(""), ids


def _git_id(kind: str, body: bytes) -> str:
    # Git's own naming scheme, not a protection.
    return hashlib.sha1(f"{kind} {len(body)}\0".encode() + body, usedforsecurity=False).hexdigest()


def _sibling(file: HubFile, *, blobs: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        found |= {"size": file.size, "blobId": file.blob_id}
        if file.pointer is not None:
            found["lfs"] = {
                "sha256": file.sha256,
                "size": file.size,
                "pointerSize": len(file.pointer),
            }
    return found


def _ref(name: str, ref: str, commit: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": commit}
