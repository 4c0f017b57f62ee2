"""Where things are in a Hub cache, and what it says of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, NotVerifiedError
from manifestd.model.digest import check_value
from manifestd.model.entry import Problem
from manifestd.model.reference import HubReference

_ETAG: Final = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\Z")
_SHARED: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\Z")
_MAX_TREE: Final = 256 * 1024 * 1024


class CacheFile(msgspec.Struct, frozen=True):
    """What the cache's tree says of one file: its size, and digests it declares."""

    size: int
    digests: dict[str, str]


def cache_root(environ: Mapping[str, str]) -> Path:
    """The Hub cache, found as huggingface_hub finds it (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME)."""
    given = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return _expanded(given)
    home = environ.get("HF_HOME")
    if home:
        return _expanded(home) / "hub"
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(base) / "huggingface" / "hub"


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def folder_of(reference: HubReference) -> str:
    """The folder of a repository: ``models--org--name``."""
    return f"{reference.repo_type}s--" + reference.repo_id.replace("/", "--")


def blob_target(root: Path, folder: Path, link: Path) -> tuple[str, dict[str, str]]:
    """The blob a snapshot's link leads to, and what its name declares.

    Only ``blobs/<etag>`` of the same repository will do, and from there only the
    cache's shared blobs (``blobs/<2 hex>/<xet hash>``): judged by the text of the
    links, so that no other file is ever touched.

    Raises:
        MalformedError: The link leads somewhere else.
        OSError: A link cannot be read.
    """
    first = os.path.normpath(link.parent / link.readlink())
    blobs = f"{os.path.normpath(folder)}/blobs/"
    name = first.removeprefix(blobs)
    if not first.startswith(blobs) or not _ETAG.match(name):
        raise MalformedError("a link that does not lead to a blob of this repository")
    digests = {"sha256": name} if len(name) == 64 else {"sha1-git": name}
    if not Path(first).is_symlink():
        return first, digests
    second = os.path.normpath(Path(first).parent / Path(first).readlink())
    shared = f"{os.path.normpath(root)}/blobs/"
    if not second.startswith(shared) or not _SHARED.match(second.removeprefix(shared)):
        raise MalformedError("a blob that is a link out of the cache's shared blobs")
    return second, digests


def declared_files(folder: Path, commit: str) -> tuple[dict[str, CacheFile], Problem | None]:
    """What ``trees/<commit>.json`` declares, by path; empty where the cache has none.

    Returns:
        The files, and a note when the listing is there but cannot be used.
    """
    path = folder / "trees" / f"{commit}.json"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TREE + 1)
    except FileNotFoundError:
        return {}, None
    except OSError as error:
        return {}, _note(f"cannot be read: {error.strerror}")
    try:
        document = canonical.decode_foreign(data, name="the cache's tree", max_size=_MAX_TREE)
        if document["format_version"] != 1:
            return {}, _note("has a format that is not known")
        return {path: _file(info) for path, info in document["files"].items()}, None
    except (NotVerifiedError, KeyError, TypeError, AttributeError) as error:
        return {}, _note(f"cannot be used: {error}")


def _file(info: Mapping[str, Any]) -> CacheFile:
    digests: dict[str, str] = {}
    if info.get("lfs_sha256") is not None:
        digests["sha256"] = check_value("sha256", info["lfs_sha256"])
    else:
        # For LFS files the blob id is that of the pointer text, not of the content.
        digests["sha1-git"] = check_value("sha1-git", info["blob_id"])
    if info.get("xet_hash") is not None:
        digests["xet"] = check_value("xet", info["xet_hash"])
    size = info["size"]
    if info.get("lfs_size") is not None:
        size = info["lfs_size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise TypeError(f"the size {size!r}")
    return CacheFile(size, digests)


def contradiction(known: CacheFile, named: Mapping[str, str], size: int) -> str | None:
    """What the cache's tree says against a blob's name or size; None: nothing."""
    if known.size != size:
        return f"it has {size} bytes, the cache's own listing says {known.size}"
    for algorithm, value in named.items():
        stated = known.digests.get(algorithm)
        if stated != value:
            return (
                f"its blob is called {value}, the cache's own listing says "
                f"{algorithm} {stated or 'nothing'}"
            )
    return None


def _note(what: str) -> Problem:
    return Problem(code="cache-tree", what=f"the cache's own listing {what}", severity="note")
