"""Opening an archive layer: every file in it hashed on the way past, nothing extracted.

Links, devices, ``..``, absolute and repeated names are refused, as one problem a
kind and layer; a layer whose own digest is wrong gives no file at all.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from manifestd.display import printable
from manifestd.errors import MalformedError, ManifestdError, MismatchError
from manifestd.model.entry import Entry, File, Problem
from manifestd.redact import redact
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_manifest import Layer
from manifestd.sources.oci_tar import Member, Tar
from manifestd.sources.oci_unpack import BlobReader, Unpacked

MAX_MEMBERS: Final = 200_000
"""Members of one layer."""
MAX_ALL: Final = 1_000_000
"""Members of all layers: an artifact may name one small layer thousands of times."""
KEPT_FILE: Final = 16 * 1024 * 1024
"""Bytes up to which a file of a compressed layer is kept aside while the snapshot is taken."""
KEPT_HEAD: Final = 1024 * 1024
"""Bytes kept of larger ones: tensor headers stand at the beginning."""
KEPT_ALL: Final = 2 * 1024 * 1024 * 1024

MEMBERS: Final = "members"
"""The hint that says how many files a file's layer holds."""

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_NAMED: Final = 3


class Opened(msgspec.Struct, kw_only=True):
    """What was in a layer.

    Attributes:
        entries: Its files, each with a measured sha256.
        problems: What was refused.
        bytes: How much of the layer arrived.
        hidden: Paths (files, or whole folders) that the layer removes from those below it.
        emptied: Folders whose content in lower layers it hides.
    """

    entries: list[Entry] = []
    problems: list[Problem] = []
    bytes: int = 0
    hidden: set[str] = set()
    emptied: set[str] = set()


class Aside:
    """Beginnings of files of compressed layers, kept in an unnamed temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        self._lock = threading.Lock()
        self._end = 0
        self._places: dict[tuple[str, int], tuple[int, int]] = {}

    def place(self, layer: str, member: Member) -> tuple[int, int]:
        """Where to put a member's beginning, and how much of it; nothing when full."""
        length = member.size if member.size <= KEPT_FILE else KEPT_HEAD
        with self._lock:
            if self._end + length > KEPT_ALL:
                return 0, 0
            begin, self._end = self._end, self._end + length
            self._places[layer, member.offset] = (begin, length)
        return begin, length

    def write(self, position: int, data: bytes) -> None:
        """Put bytes at a place that was given."""
        with self._lock:
            self._file.seek(position)
            self._file.write(data)

    def read(self, layer: str, member: int, offset: int, length: int) -> bytes | None:
        """Bytes of the member that begins at ``member`` of a layer; None if they were not kept."""
        begin, kept = self._places.get((layer, member), (0, 0))
        if offset + length > kept:
            return None
        with self._lock:
            self._file.seek(begin + offset)
            return self._file.read(length)

    def close(self) -> None:
        """Forget everything. May be called twice."""
        self._file.close()


class Opener:
    """Opens archive layers of one artifact.

    Args:
        registry: Where they are.
        aside: Where beginnings are kept.
        image: Layers are those of a container image: links are usual, whiteouts count.
    """

    def __init__(self, registry: Registry, aside: Aside, *, image: bool) -> None:
        self._registry = registry
        self._aside = aside
        self._image = image
        self._met = itertools.count(1)  # by all threads; next() is one step
        self._full = False
        self.stop = threading.Event()

    def open(self, layer: Layer) -> Opened:
        """Read one layer whole. Its failure comes back as its problem."""
        reader = BlobReader(self._registry, layer.descriptor, self.stop)
        found = Opened()
        try:
            self._walk(layer, Unpacked(reader, layer.packing), found)
            reader.finish()
        except ManifestdError as error:
            what = f"the layer {layer.descriptor.digest}: {redact(error.what)}"
            problem = Problem(
                code=error.code, what=what, hint=error.hint,
                severity="mismatch" if isinstance(error, MismatchError) else "error",
            )  # fmt: skip
            return Opened(problems=[problem], bytes=reader.position)
        finally:
            reader.close()
        found.bytes = reader.position
        if layer.path and len(found.entries) == 1:
            found.entries = [_renamed(found.entries[0], layer.path)]
        return found

    def _walk(self, layer: Layer, source: Unpacked, found: Opened) -> None:
        refused = _Refused(layer.descriptor.digest, image=self._image)
        seen: set[str] = set()
        tar = Tar(source)
        for count, member in enumerate(self._bounded(tar)):
            if count >= MAX_MEMBERS:
                raise MalformedError(f"it holds more than {MAX_MEMBERS} files and folders")
            if member.kind == "directory":
                continue
            path = refused.path_of(member)
            if path is None or (self._image and _takes_away(path, found)):
                continue
            if path in seen:
                refused.add("duplicate-path", path)
                continue
            seen.add(path)
            found.entries.append(self._entry(layer, tar, member, path))
        while source.read(1024 * 1024):  # to the end, for the layer's digest and its bounds
            pass
        found.problems += refused.problems()
        if not found.problems and not self._image:
            # Says later that nothing of the layer is missing from what was recorded of it.
            count = len(found.entries)
            found.entries = [_counted(entry, count) for entry in found.entries]

    def _bounded(self, tar: Tar) -> Iterator[Member]:
        """A layer's members, as long as those of all layers together stay within bounds."""
        members = tar.members()
        while not self._full:
            member = next(members, None)
            if member is None:
                return
            self._full = next(self._met) > MAX_ALL
            yield member
        raise MalformedError(f"the layers hold more than {MAX_ALL} files and folders")

    def _entry(self, layer: Layer, tar: Tar, member: Member, path: str) -> Entry:
        digest = layer.descriptor.digest
        begin, kept = self._aside.place(digest, member) if layer.packing else (0, 0)
        hashed = hashlib.sha256()
        position = 0
        for piece in tar.data():
            hashed.update(piece)
            if position < kept:
                self._aside.write(begin + position, piece[: kept - position])
            position += len(piece)
        return Entry(
            path=path,
            size=member.size,
            digests={"sha256": hashed.hexdigest()},
            evidence={"sha256": "measured"},
            identity={"layer": digest, "at": str(member.offset)},
            hints={"layer": "archive"},
        )


class _Refused:
    """Members that are not taken, by reason."""

    def __init__(self, layer: str, *, image: bool) -> None:
        self._layer = layer
        self._image = image
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, code: str, name: str) -> None:
        self._counts[code] = self._counts.get(code, 0) + 1
        names = self._names.setdefault(code, [])
        if len(names) < _NAMED:
            names.append(printable(name))

    def path_of(self, member: Member) -> str | None:
        """The path of a file, or None after noting why it is not taken."""
        try:
            name = member.name.decode()
        except UnicodeDecodeError:
            self.add("not-utf8", member.name.decode("utf-8", "backslashreplace"))
            return None
        path = name.removeprefix("./")
        if member.kind == "link":
            self.add("link", name)
        elif member.kind == "special":
            self.add("special-file", name)
        elif not is_safe(path):
            self.add("unsafe-path", name)
        else:
            return path
        return None

    def problems(self) -> list[Problem]:
        """One problem a reason."""
        reasons = {
            "link": ("link, which is not followed", "links, which are not followed"),
            "special-file": ("special file", "devices or other special files"),
            "unsafe-path": ("name that leads out of it", "names that lead out of it"),
            "not-utf8": ("name that is not UTF-8", "names that are not UTF-8"),
            "duplicate-path": ("name a second time", "names a second time"),
        }
        return [
            Problem(
                code=code,
                what=f"the layer {self._layer} holds {count} {reasons[code][count > 1]}: "
                + ", ".join(self._names[code])
                + (" …" if count > _NAMED else ""),
                # A base system is full of links and devices, none of them content.
                severity="note" if self._image and code in {"link", "special-file"} else "error",
            )
            for code, count in self._counts.items()
        ]


def is_safe(path: str) -> bool:
    """Whether a path stays inside, means a file, and means one thing only."""
    parts = path.split("/")
    return bool(path) and "\0" not in path and not {"", ".", ".."} & set(parts)


def _takes_away(path: str, found: Opened) -> bool:
    """Note a whiteout (image-spec, "layer.md"); False when the file is none."""
    folder, _, name = path.rpartition("/")
    if name == _OPAQUE:
        found.emptied.add(folder)
        return True
    if name.startswith(_WHITEOUT):
        found.hidden.add(f"{folder}/{name[4:]}".lstrip("/"))
        return True
    return False


def _counted(entry: Entry, count: int) -> Entry:
    return msgspec.structs.replace(entry, hints=entry.hints | {MEMBERS: count})


def recalled(recorded: Iterator[File], layers: Collection[str]) -> dict[str, list[Entry]]:
    """Archive layers all of whose files were measured before: digest -> entries.

    A layer is its digest, so what was in it then is in it now.
    """
    found: dict[str, list[File]] = {}
    for file in recorded:
        layer = file.seen.identity.get("layer", "")
        if layer in layers and file.grade() in {"measured", "reused"}:
            found.setdefault(layer, []).append(file)
    return {
        layer: [_entry_of(file) for file in files]
        for layer, files in found.items()
        if all(file.seen.hints.get(MEMBERS) == len(files) for file in files)
    }


def _entry_of(file: File) -> Entry:
    return Entry(
        path=file.path,
        size=file.size,
        digests={"sha256": file.sha256 or ""},
        evidence={"sha256": "reused"},
        identity=file.seen.identity,
        hints=file.seen.hints,
    )


def _renamed(entry: Entry, path: str) -> Entry:
    """The only file of an archive, under the path that the manifest gives the layer."""
    if is_safe(path) and path.endswith("/" + entry.path):
        return msgspec.structs.replace(entry, path=path)
    return entry


def overlay(layers: list[Opened], add: Callable[[Entry], None]) -> None:
    """Files of an image's layers, given from the top: what is above hides what is below."""
    seen: set[str] = set()
    hidden: set[str] = set()
    emptied: set[str] = set()
    for layer in layers:
        for entry in layer.entries:
            above = _folders(entry.path)
            if entry.path in seen or {entry.path, *above} & hidden or set(above) & emptied:
                continue
            if set(above) & seen:
                continue  # a file above has replaced the folder
            seen.add(entry.path)
            add(entry)
        hidden |= layer.hidden
        emptied |= layer.emptied


def _folders(path: str) -> list[str]:
    """Every folder that holds a path, the top itself as an empty text.

    Example:
        >>> _folders("a/b/c")
        ['', 'a', 'a/b']
    """
    parts = path.split("/")[:-1]
    return ["", *("/".join(parts[: end + 1]) for end in range(len(parts)))]
