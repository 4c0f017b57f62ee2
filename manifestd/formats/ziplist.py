"""The directory of a zip archive, read strictly from its tail (PKWARE APPNOTE 4.3).

Only what torch writes is accepted: one root folder, plain unique names, members
back to back from the first byte, nothing encrypted, nothing hidden between.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from manifestd.formats.bounds import RefusedError
from manifestd.model.content import RandomAccess

MAX_MEMBERS: Final = 100_000
MAX_DIRECTORY: Final = 16 * 1024 * 1024
MAX_WINDOWS: Final = 16
"""Reads spent on local headers; an archive that needs more is placed by its directory alone."""
_WINDOW: Final = 128 * 1024
_TAIL: Final = 64 * 1024
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_DESCRIPTOR: Final = 0x0008
_UTF8: Final = 0x0800
_ALIGNMENT: Final = 64


class CutOffError(RefusedError):
    """The archive has no end, so that nobody can load it."""


class Member(msgspec.Struct, kw_only=True):
    """One member; ``begin`` is None where the directory alone does not tell where data starts."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    span_end: int = 0
    begin: int | None = None


class Archive(msgspec.Struct, kw_only=True):
    """A zip's members in file order.

    Attributes:
        root: The one folder everything stands in.
        members: In order of their position.
        exact: Every local header was read and agrees with the directory.
    """

    root: str
    members: list[Member]
    exact: bool


def read_archive(content: RandomAccess) -> Archive:
    """Read and check the directory, and the local headers where that takes few reads.

    Raises:
        CutOffError: There is no directory to read.
        RefusedError: Anything but one plain archive.
    """
    tail_at = max(0, content.size - _TAIL)
    tail = content.read_at(tail_at, content.size - tail_at)
    count, directory_at, length, end_at = _locate(content, tail, tail_at)
    if count > MAX_MEMBERS or length > MAX_DIRECTORY:
        raise RefusedError(f"an archive with {count} members in {length} bytes of directory")
    if directory_at + length != end_at:
        raise RefusedError("bytes between the archive's directory and its end")
    if directory_at >= tail_at:
        data = tail[directory_at - tail_at : directory_at - tail_at + length]
    else:
        data = content.read_at(directory_at, length)
    members = _members(data, count)
    members.sort(key=lambda member: member.header)
    _spans(members, directory_at)
    root = _root(members)
    exact = _place(content, members)
    return Archive(root=root, members=members, exact=exact)


def _locate(content: RandomAccess, tail: bytes, tail_at: int) -> tuple[int, int, int, int]:
    """Member count, directory offset and length, and where the end records begin."""
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise CutOffError("no end record: not a zip archive, or cut off")
    _, disk, first_disk, here, count, length, start, comment = _END.unpack_from(tail, at)
    if comment or at + _END.size != len(tail):
        raise RefusedError("bytes after the archive's end record")
    end_at = tail_at + at
    locator = tail[at - 20 : at] if at >= 20 else b""
    if locator.startswith(b"PK\x06\x07"):
        (end64,) = struct.unpack_from("<Q", locator, 8)
        record = content.read_at(end64, _END64.size) if end64 < content.size else b""
        if len(record) != _END64.size or not record.startswith(b"PK\x06\x06"):
            raise RefusedError("the zip64 end record is not where its locator says")
        _, _, _, _, disk, first_disk, here, count, length, start = _END64.unpack(record)
        end_at = end64
    if disk or first_disk or here != count:
        raise RefusedError("an archive in several volumes")
    if not count:
        raise RefusedError("an empty archive")
    return count, start, length, end_at


def _members(data: bytes, count: int) -> list[Member]:
    members = []
    names = set()
    at = 0
    for _ in range(count):
        if len(data) - at < _CENTRAL.size or data[at : at + 4] != b"PK\x01\x02":
            raise RefusedError("a damaged archive directory")
        fields = _CENTRAL.unpack_from(data, at)
        _, _, _, flags, method, _, _, crc, packed, size, name_len, extra_len, note_len = fields[:13]
        begin = at + _CENTRAL.size
        extra = data[begin + name_len : begin + name_len + extra_len]
        name = _name(data[begin : begin + name_len])
        at = begin + name_len + extra_len + note_len
        header = fields[16]
        size, packed, header = _zip64(extra, size, packed, header)
        if flags & ~(_DESCRIPTOR | _UTF8):
            raise RefusedError(f"member {name[:80]!r} is encrypted or otherwise special")
        if name in names:
            raise RefusedError(f"member {name[:80]!r} stands twice")
        names.add(name)
        members.append(
            Member(
                name=name,
                flags=flags,
                method=method,
                crc=crc,
                packed=packed,
                size=size,
                header=header,
            )
        )
    if at != len(data):
        raise RefusedError("a damaged archive directory")
    return members


def _name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError("a member name that is not UTF-8") from error
    parts = name.split("/")
    if "\\" in name or "\0" in name or len(raw) > 1024 or {"", ".", ".."} & set(parts):
        raise RefusedError(f"the member name {name[:80]!r}")
    return name


def _zip64(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    values = [size, packed, header]
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and len(field) >= 8:
                    (values[index],) = struct.unpack_from("<Q", field)
                    field = field[8:]
        at += 4 + length
    return values[0], values[1], values[2]


def _root(members: list[Member]) -> str:
    roots = {member.name.partition("/")[0] if "/" in member.name else "" for member in members}
    if len(roots) != 1 or "" in roots:
        raise RefusedError("members outside one root folder: no torch archive")
    return roots.pop()


def _spans(members: list[Member], directory_at: int) -> None:
    if members[0].header != 0:
        raise RefusedError("bytes before the first member")
    ends = [member.header for member in members[1:]] + [directory_at]
    for member, end in zip(members, ends, strict=True):
        member.span_end = end
        if end - member.header < _LOCAL.size + len(member.name.encode()) + member.packed:
            raise RefusedError(f"member {member.name[:80]!r} overlaps the next one")


def _place(content: RandomAccess, members: list[Member]) -> bool:
    """Set where each member's data begins; whether that is proved by the local headers."""
    windows = 0
    covered = -1
    for member in members:
        if member.header + 1024 > covered:
            windows += 1
            covered = member.header + _WINDOW
    if windows > MAX_WINDOWS:
        for member in members:
            member.begin = _inferred(member)
        return False
    window, window_at = b"", 0
    for member in members:
        if member.header + 1024 > window_at + len(window):
            window_at = member.header
            window = content.read_at(window_at, min(_WINDOW, content.size - window_at))
        member.begin = _local(member, window, member.header - window_at)
    return True


def _local(member: Member, window: bytes, at: int) -> int:
    """Check a local header against the directory; returns where the data begins."""
    shown = member.name[:80]
    if len(window) - at < _LOCAL.size or window[at : at + 4] != b"PK\x03\x04":
        raise RefusedError(f"member {shown!r} has no local header")
    _, _, flags, method, _, _, crc, _, _, name_len, extra_len = _LOCAL.unpack_from(window, at)
    name = window[at + _LOCAL.size : at + _LOCAL.size + name_len]
    if (name, flags, method) != (member.name.encode(), member.flags, member.method):
        raise RefusedError(f"the local header of {shown!r} contradicts the directory")
    if not flags & _DESCRIPTOR and crc != member.crc:
        raise RefusedError(f"the local header of {shown!r} contradicts the directory")
    begin: int = member.header + _LOCAL.size + name_len + extra_len
    slack = member.span_end - begin - member.packed
    if slack not in ({12, 16, 20, 24} if flags & _DESCRIPTOR else {0}):
        raise RefusedError(f"bytes between {shown!r} and the next member")
    return begin


def _inferred(member: Member) -> int | None:
    """Where data begins if the writer aligned it, as torch does, and left no gap behind it."""
    slacks = (12, 16, 20, 24) if member.flags & _DESCRIPTOR else (0,)
    least = member.header + _LOCAL.size + len(member.name.encode())
    starts = [member.span_end - slack - member.packed for slack in slacks]
    aligned = [start for start in starts if start % _ALIGNMENT == 0 and start >= least]
    return aligned[0] if len(aligned) == 1 else None
