"""A repository in a Hub cache, offline: one downloaded revision, its links and its blobs.

The layout is huggingface_hub's (its "Understand caching" guide): ``snapshots/
<commit>/<path>`` are links to ``blobs/<etag>`` of the same repository, which may
themselves be links into the cache's shared blobs. A link that leads anywhere
else is refused. A blob's name is what the Hub declared, never a digest of ours.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from manifestd.display import printable, some_of
from manifestd.errors import (
    AmbiguousError,
    MalformedError,
    SourceNotFoundError,
    UnreadableError,
    UsageError,
)
from manifestd.model.content import Stream
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import HubReference, parse_hub
from manifestd.sources.base import Resolved, Source, SourceSettings
from manifestd.sources.cache_layout import (
    CacheFile,
    blob_target,
    cache_root,
    contradiction,
    declared_files,
    folder_of,
)
from manifestd.sources.local_list import foreign_name, identity_of
from manifestd.sources.local_open import translated
from manifestd.sources.local_stream import Buffers, FileStream, changed

log = logging.getLogger(__name__)

_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_KINDS: Final = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
_NAMED: Final = 5
_LONGEST_REF: Final = 64


class CacheSource(Source[HubReference]):
    """Files of one revision in the Hub cache, read without the network."""

    scheme = "hf-cache"
    local = True

    def __init__(
        self, reference: HubReference, settings: SourceSettings, root: Path | None = None
    ) -> None:
        super().__init__(reference, settings)
        self._root = root or cache_root(os.environ)
        self._folder = self._root / folder_of(reference)
        self._buffers = Buffers()
        self._targets: dict[str, str] = {}

    def resolve(self) -> Resolved:
        """Find the commit: as given, by ``refs/``, or the only one that is there.

        Raises:
            SourceNotFoundError: The repository or the revision is not in the cache.
            AmbiguousError: Several revisions and none asked for.
            MalformedError: ``refs/`` holds something that is no commit.
        """
        if not (self._folder / "snapshots").is_dir():
            raise SourceNotFoundError(
                f"{self.reference.repo_id} is not in the Hub cache at {printable(str(self._root))}",
                hint="set HF_HUB_CACHE or HF_HOME if the cache lies elsewhere",
            )
        asked = self.reference.revision
        requested: str | None = asked or "main"
        commit = asked if asked and _COMMIT.match(asked) else self._by_ref(asked or "main")
        if commit is None:
            requested, commit = asked, self._only_one(asked)
        self._check_folders(commit)
        if not (self._folder / "snapshots" / commit).is_dir():
            raise SourceNotFoundError(
                f"the revision {commit} of {self.reference.repo_id} is not in the Hub cache",
                hint=self._there(),
                facts={"revision": commit, "cached": self._commits()},
            )
        return Resolved(
            place=self.reference.place(),
            name=self.reference.repo_id,
            requested=requested,
            revision=commit,
        )

    def _check_folders(self, commit: str) -> None:
        """The repository's own folders are folders: a link in their place leads elsewhere.

        Raises:
            MalformedError: One is a link.
        """
        snapshots = self._folder / "snapshots"
        for path in (self._folder, self._folder / "blobs", snapshots, snapshots / commit):
            if path.is_symlink():
                shown = path.relative_to(self._root)
                raise MalformedError(f"{printable(str(shown))} in the Hub cache is a link")

    def _by_ref(self, name: str) -> str | None:
        try:
            path = self._folder / "refs" / name
            if not path.resolve().is_relative_to((self._folder / "refs").resolve()):
                raise MalformedError(f"not a revision: {printable(name)}")
            with path.open("rb") as file:
                commit = file.read(_LONGEST_REF).decode("ascii").strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except (OSError, UnicodeError) as error:
            raise UnreadableError(f"refs/{printable(name)} cannot be read") from error
        if not _COMMIT.match(commit):
            raise MalformedError(f"refs/{printable(name)} in the Hub cache holds no commit")
        return commit

    def _only_one(self, asked: str | None) -> str:
        commits = self._commits()
        if asked is None and len(commits) == 1:
            return commits[0]
        if asked is None and commits:
            raise AmbiguousError(
                f"{self.reference.repo_id} has {len(commits)} revisions in the cache, none of them main",
                hint=f"name one: {self.reference.place()}@{commits[0]}",
                facts={"candidates": commits},
            )
        raise SourceNotFoundError(
            f"the revision {printable(asked or 'main')} of {self.reference.repo_id} is not in the "
            "Hub cache",
            hint=self._there(),
            facts={"cached": commits},
        )

    def _there(self) -> str:
        """Which revisions could be asked for."""
        known = ", ".join(f"@{commit}" for commit in self._commits()[:3])
        return f"the cache has {known}" if known else "download it first, or see `--all`"

    def _commits(self) -> list[str]:
        return sorted(
            path.name
            for path in (self._folder / "snapshots").iterdir()
            if _COMMIT.match(path.name) and path.is_dir()
        )

    def list(self, resolved: Resolved) -> Iterator[Entry | Problem]:
        """Every file below the revision's folder; what the cache's own tree lists but lacks is said."""
        assert resolved.revision is not None
        top = self._folder / "snapshots" / resolved.revision
        declared, note = declared_files(self._folder, resolved.revision)
        if note is not None:
            yield note
        seen: set[str] = set()
        for path, found in _walk(top, ""):
            seen.add(path)
            if isinstance(found, Problem):
                yield found
            else:
                yield from self._entry(top, path, found, declared.get(path), resolved.revision)
        absent = sorted(declared.keys() - seen)
        if absent:
            shown = some_of(absent, _NAMED)
            yield Problem(
                code="not-downloaded",
                what=f"{len(absent)} files of the commit are not in the cache: {shown}",
                severity="note",
            )

    def _entry(
        self, top: Path, path: str, found: os.stat_result, known: CacheFile | None, commit: str
    ) -> Iterator[Entry | Problem]:
        link = top / path
        digests: dict[str, str] = {}
        target = str(link)
        try:
            if stat.S_ISLNK(found.st_mode):
                target, digests = blob_target(self._root, self._folder, link)
                found = Path(target).lstat()
        except MalformedError as error:
            yield Problem(path=path, code="symlink-escapes", what=error.what)
            return
        except OSError as error:
            yield Problem(
                path=path, code="unreadable", what=f"its blob is not there: {error.strerror}"
            )
            return
        if not stat.S_ISREG(found.st_mode):
            yield Problem(path=path, code="special-file", what="not a regular file")
            return
        if known is not None:
            wrong = contradiction(known, digests, found.st_size)
            if wrong is not None:
                yield Problem(path=path, code="cache-tree", what=wrong, severity="mismatch")
            # The bytes are held against the blob's name: that is what the Hub cache goes by.
            digests = {**known.digests, **digests}
        self._targets[path] = target
        yield Entry(
            path=path,
            size=found.st_size,
            digests=digests,
            evidence=dict.fromkeys(digests, "declared"),
            identity={**identity_of(found), "commit": commit},
        )

    def open(self, resolved: Resolved, entry: Entry, offset: int = 0) -> Stream:
        """Open the blob behind a listed path if it still is the listed one.

        Raises:
            ChangedError: It is another file, or not there any more.
            AccessDeniedError: It may not be read.
        """
        try:
            fd = os.open(self._targets[entry.path], _FLAGS)
        except OSError as error:
            raise translated(error, entry.path) from error
        if not _is(entry, os.fstat(fd)):
            os.close(fd)
            raise changed(entry.path)
        return FileStream(
            fd,
            entry.path,
            entry.size,
            offset,
            unchanged=lambda fd: _is(entry, os.fstat(fd)),
            buffers=self._buffers,
        )


def _is(entry: Entry, found: os.stat_result) -> bool:
    known = {key: value for key, value in entry.identity.items() if key != "commit"}
    return stat.S_ISREG(found.st_mode) and known == identity_of(found)


def _walk(
    folder: Path, prefix: str, depth: int = 0
) -> Iterator[tuple[str, os.stat_result | Problem]]:
    """Files and links below a folder; directories are real ones, links to them are refused later."""
    if depth > 100:
        yield (
            prefix,
            Problem(
                path=prefix.rstrip("/"), code="unreadable", what="more than 100 directories deep"
            ),
        )
        return
    try:
        with os.scandir(folder) as found:
            items = sorted(found, key=lambda item: item.name)
    except OSError as error:
        what = f"the folder cannot be listed: {error.strerror}"
        yield prefix, Problem(path=prefix.rstrip("/") or None, code="unreadable", what=what)
        return
    for item in items:
        path = prefix + item.name
        foreign = foreign_name(path)
        if foreign is not None:
            yield path, foreign
            continue
        if item.is_dir(follow_symlinks=False):
            yield from _walk(Path(item.path), path + "/", depth + 1)
        else:
            yield path, item.stat(follow_symlinks=False)


def cached_repositories(root: Path | None = None) -> list[HubReference]:
    """Every downloaded revision of every repository in a Hub cache.

    Raises:
        UnreadableError: The cache cannot be listed.
    """
    base = root or cache_root(os.environ)
    found: list[HubReference] = []
    try:
        for folder in sorted(base.iterdir()) if base.is_dir() else []:
            kind, _, rest = folder.name.partition("--")
            commits = folder / "snapshots"
            if kind not in _KINDS or not rest or not commits.is_dir():
                continue
            name = rest.replace("--", "/")
            names = sorted(path.name for path in commits.iterdir())
            texts = [f"{_KINDS[kind]}{name}@{each}" for each in names if _COMMIT.match(each)]
            found += [each for each in map(_reference, texts) if each is not None]
    except OSError as error:
        raise UnreadableError(
            f"the Hub cache at {printable(str(base))} cannot be listed: {error.strerror}"
        ) from error
    return found


def _reference(text: str) -> HubReference | None:
    """None, and a warning, for a folder whose name is no repository's."""
    try:
        return parse_hub(text, scheme="hf-cache")
    except UsageError as error:
        log.warning("a folder of the Hub cache is left out: %s", error.what)
        return None
