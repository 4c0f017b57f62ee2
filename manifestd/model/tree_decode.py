"""The strict way back from the pieces of a file list to its entries (docs/format/store.md, section 3).

A piece is refused unless its bytes are canonical, its entries in order, and it
is what its parent said. Bounds are checked before anything is parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import lt
from typing import Annotated, Final, NamedTuple

import msgspec

from manifestd.canonical import MAX_INTEGER
from manifestd.errors import MalformedError, TamperedError
from manifestd.model.entry import Observation
from manifestd.model.tree import (
    CONTENT,
    MAX_LEAF,
    MAX_NODE,
    NODE,
    OBSERVATION,
    ContentEntry,
    ObservationEntry,
    Ref,
    are_sha256,
    common_folder,
    encoder,
    has_ascii_names,
    is_plain,
)

MAX_LEVEL: Final = 24

_Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
_header = msgspec.json.Decoder(tuple[str, str])
_node_header = msgspec.json.Decoder(tuple[str, Annotated[int, msgspec.Meta(ge=1, le=MAX_LEVEL)]])
_content_line = msgspec.json.Decoder(tuple[str, _Size, str | None])
_observation_line = msgspec.json.Decoder(tuple[str, Observation])
_node_line = msgspec.json.Decoder(tuple[str, Annotated[int, msgspec.Meta(ge=1)], str])


class Node(NamedTuple):
    """A decoded node: children of level 1 are leaves, those of level n are nodes of level n-1."""

    level: int
    children: list[Ref]


def decode_node(data: bytes, *, ref: Ref | None = None, level: int | None = None) -> Node:
    """Decode a node strictly.

    Args:
        data: Its bytes, whose sha256 was checked.
        ref: What the parent said of it; None for a root.
        level: The level it must have; None for a root.

    Raises:
        MalformedError: Written by a newer format.
        TamperedError: Not a node, not canonical, out of order, or not what the parent said.
    """
    head, body = _split(data, MAX_NODE)
    try:
        schema, found = _node_header.decode(head)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _refused(head, NODE, "node") from error
    if schema != NODE or head != encoder.encode((schema, found)):
        raise _refused(head, NODE, "node")
    lines = body.split(b"\n")
    lines.pop()
    children = node_children(lines)
    agrees = ref is None or (children[0].first, sum(c.files for c in children)) == ref[:2]
    if not agrees or found != (level or found):
        raise TamperedError("a node of a file list is not the one its parent describes")
    return Node(found, children)


def split_node(data: bytes, ref: Ref, level: int) -> list[bytes]:
    """Open a node without parsing its lines (no line ends); parse some with :func:`node_children`.

    Only header, number of lines and first path are checked.

    Raises:
        MalformedError: Written by a newer format.
        TamperedError: Not a node of this level, or not what its parent said.
    """
    head, body = _split(data, MAX_NODE)
    if head != encoder.encode((NODE, level)):
        raise _refused(head, NODE, "node")
    lines = body.split(b"\n")
    lines.pop()
    if not lines[0].startswith(b"[" + encoder.encode(ref.first) + b","):
        raise TamperedError("a node of a file list is not the one its parent describes")
    return lines


def node_children(lines: list[bytes]) -> list[Ref]:
    """Parse some lines of a node, in their order, strictly.

    Raises:
        TamperedError: Malformed, not canonical or out of order.
    """
    if not lines:
        return []
    joined = b"\n".join(lines) + b"\n"
    try:
        rows = _node_line.decode_lines(joined)
        canonical = encoder.encode_lines(rows)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise TamperedError("a node of a file list has a malformed line") from error
    if canonical != joined or not _are_children(rows):
        raise TamperedError("a node of a file list is not in canonical form")
    return [Ref(first, count, bytes.fromhex(digest)) for first, count, digest in rows]


def _are_children(rows: list[tuple[str, int, str]]) -> bool:
    return _ascending([row[0] for row in rows]) and are_sha256([row[2] for row in rows])


def decode_content(data: bytes, ref: Ref) -> list[ContentEntry]:
    """Decode a content leaf strictly; the paths are whole again.

    Raises:
        MalformedError: Written by a newer format.
        TamperedError: Not such a leaf, not canonical, out of order, or not what its parent said.
    """
    prefix, lines = _open_leaf(data, CONTENT)
    return content_entries(prefix, lines, ref)


def content_entries(prefix: str, lines: bytes, ref: Ref | None) -> list[ContentEntry]:
    """Decode lines of a content leaf strictly.

    Args:
        prefix: Of the leaf they are from.
        lines: Whole lines, in ascending order when ``ref`` is given.
        ref: What the parent said, when these are all lines of the leaf; None for some of them.

    Raises:
        TamperedError: As for :func:`decode_content`.
    """
    try:
        rows = _content_line.decode_lines(lines)
        canonical = encoder.encode_lines(rows)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise TamperedError("a leaf of a file list has a malformed line") from error
    if canonical != lines or not are_sha256([row[2] for row in rows]):
        raise TamperedError("a leaf of a file list is not in canonical form")
    entries = [(prefix + rest, size, sha256) for rest, size, sha256 in rows] if prefix else rows
    if ref is not None:
        _check_leaf(prefix, [entry[0] for entry in entries], ref)
    return entries


def decode_observation(data: bytes, ref: Ref) -> list[ObservationEntry]:
    """Decode an observation leaf strictly; the paths are whole again.

    Raises:
        MalformedError: Written by a newer format.
        TamperedError: As for :func:`decode_content`.
    """
    prefix, lines = _open_leaf(data, OBSERVATION)
    entries = [(prefix + rest, seen) for rest, seen in _observations(lines)]
    _check_leaf(prefix, [path for path, _ in entries], ref)
    return entries


def pick_observations(data: bytes, ref: Ref, paths: Sequence[str]) -> list[Observation]:
    """The observations of some files of a leaf; the lines of others are not parsed.

    Args:
        data: The leaf's bytes, whose sha256 was checked.
        ref: What the parent said of it.
        paths: Paths that the leaf must hold, in ascending order.

    Raises:
        MalformedError: Written by a newer format.
        TamperedError: Not such a leaf, not canonical where it was looked at, not what its
            parent said, or without one of the paths.
    """
    prefix, body = _open_leaf(data, OBSERVATION)
    lines = b"\n" + body
    cut = len(prefix)
    first = b"\n[" + encoder.encode(ref.first[cut:]) + b","
    found = []
    at = 0 if lines.startswith(first) and body.count(b"\n") == ref.files else -1
    for path in paths if at == 0 else ():
        # Text in JSON has no line feed, so this is found at the beginning of a line only.
        start = lines.find(b"\n[" + encoder.encode(path[cut:]) + b",", at)
        if start < 0 or not path.startswith(prefix):
            at = -1
            break
        at = lines.index(b"\n", start + 1)
        found.append(lines[start + 1 : at + 1])
    if at < 0 or not ref.first.startswith(prefix):
        raise TamperedError("a leaf of observations is not the one its parent describes")
    return [seen for _, seen in _observations(b"".join(found))]


def _observations(lines: bytes) -> list[ObservationEntry]:
    """Whole lines of an observation leaf, strictly; paths without the leaf's prefix."""
    try:
        rows = _observation_line.decode_lines(lines)
        canonical = encoder.encode_lines(rows)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise TamperedError("a leaf of observations has a malformed line") from error
    plain = all(is_plain(seen.hints) for _, seen in rows if seen.hints)
    named = lines.isascii() or all(has_ascii_names(seen) for _, seen in rows)
    if canonical != lines or not plain or not named:
        raise TamperedError("a leaf of observations is not in canonical form")
    return rows


def split_content(data: bytes, ref: Ref) -> tuple[str, list[bytes]]:
    """Open a content leaf without parsing its lines: prefix and lines (no line ends).

    Only header, number of lines and first path are checked; what is parsed later is
    checked by :func:`content_entries`.

    Raises:
        MalformedError: Written by a newer format.
        TamperedError: Not such a leaf, or not what its parent said.
    """
    prefix, body = _open_leaf(data, CONTENT)
    lines = body.split(b"\n")
    lines.pop()
    first = encoder.encode(ref.first[len(prefix) :])
    if (
        len(lines) != ref.files
        or not ref.first.startswith(prefix)
        or not lines[0].startswith(b"[" + first + b",")
    ):
        raise TamperedError("a leaf of a file list is not the one its parent describes")
    return prefix, lines


def _open_leaf(data: bytes, schema: str) -> tuple[str, bytes]:
    head, lines = _split(data, MAX_LEAF)
    try:
        found, prefix = _header.decode(head)
        canonical = encoder.encode((found, prefix))
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _refused(head, schema, "leaf") from error
    if found != schema or canonical != head or not (prefix == "" or prefix.endswith("/")):
        raise _refused(head, schema, "leaf")
    return prefix, lines


def _split(data: bytes, most: int) -> tuple[bytes, bytes]:
    head, _, lines = data.partition(b"\n")
    if not 1 <= lines.count(b"\n") <= most or not data.endswith(b"\n"):
        raise TamperedError("a piece of a file list has no, too many or unfinished lines")
    return head, lines


def _refused(head: bytes, schema: str, kind: str) -> MalformedError | TamperedError:
    """Why a header is not the expected one: another version, or another thing."""
    name = schema.partition("/")[0]
    same_family = head.startswith(b'["' + name.encode() + b"/v")
    if same_family and not head.startswith(b'["' + schema.encode() + b'"'):
        return MalformedError(
            f"a {kind} of a file list has a version this manifestd does not know",
            hint="use a newer manifestd",
        )
    return TamperedError(f"a piece of a file list is not the {kind} it should be")


def _check_leaf(prefix: str, paths: list[str], ref: Ref) -> None:
    if len(paths) != ref.files or paths[0] != ref.first:
        raise TamperedError("a leaf of a file list is not the one its parent describes")
    if not _ascending(paths) or prefix != common_folder(paths[0], paths[-1]):
        raise TamperedError("a leaf of a file list is not in canonical form")


def _ascending(paths: Sequence[str]) -> bool:
    # Code points and UTF-8 bytes sort alike.
    return bool(paths[0]) and all(map(lt, paths, paths[1:]))
