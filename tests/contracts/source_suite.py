"""The contract every source passes.

A member's test subclasses :class:`SourceContract` and says how its place is
made::

    class TestDirectory(SourceContract):
        @pytest.fixture
        def place(self, tmp_path: Path) -> Place:
            return DirectoryPlace(tmp_path)

where a :class:`Place` can hold a tree, change a file of it, and speak of a
place that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Protocol

import pytest

from manifestd.errors import ChangedError, SourceNotFoundError
from manifestd.model.entry import Entry, Problem
from manifestd.sources.base import Resolved, Source

ODD_NAMES: tuple[str, ...] = (
    "with space.txt",
    "plus+and&amp;=?#%41.txt",
    "quote'\"`$(x).txt",
    "caf\u00e9.txt",
    "cafe\u0301.txt",
    "Case.txt",
    "case.txt",
    "tab\there.txt",
    "line\nbreak.txt",
    "escape\x1b[31m.txt",
    "back\\slash.txt",
    "right-to-left\u202etxt.bin",
    "-rf",
    ".hidden",
    "deep/er/and/deeper/file.txt",
    "\U0001f917.txt",
)


class Place(Protocol):
    """How a contract test makes, changes and misses a place of one kind."""

    def make(self, tree: Mapping[str, bytes]) -> Source[Any]:
        """A source over a place that holds exactly ``tree``."""

    def change(self, path: str, data: bytes) -> None:
        """Replace one file of the place made last, as an owner would."""

    def missing(self) -> Source[Any]:
        """A source over a place that does not exist."""


TREE: Mapping[str, bytes] = {
    "README.md": b"# tiny\n",
    "config.json": b'{"n": 1}\n',
    "empty.txt": b"",
    "onnx/model.onnx": bytes(range(256)) * 5,
    "weights.bin": b"".join(number.to_bytes(4, "big") for number in range(100_000)),
}


def listed(source: Source[Any], resolved: Resolved) -> dict[str, Entry]:
    """The listing by path; a path twice, or a problem other than a note, fails the test."""
    entries: dict[str, Entry] = {}
    for item in source.list(resolved):
        if isinstance(item, Problem):
            assert item.severity == "note", item
            continue
        assert item.path not in entries, f"{item.path} listed twice"
        entries[item.path] = item
    return entries


def everything(source: Source[Any], resolved: Resolved) -> tuple[dict[str, Entry], list[Problem]]:
    """The listing by path, and its problems; a path twice fails the test."""
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    for item in source.list(resolved):
        if isinstance(item, Problem):
            problems.append(item)
        else:
            assert item.path not in entries, f"{item.path} listed twice"
            entries[item.path] = item
    return entries, problems


def content(source: Source[Any], resolved: Resolved, entry: Entry, offset: int = 0) -> bytes:
    """The bytes from ``offset`` to the end, copied chunk by chunk."""
    with source.open(resolved, entry, offset) as stream:
        return b"".join(bytes(chunk) for chunk in stream.chunks(64 * 1024))


class SourceContract:
    """Subclass with a fixture ``place``; override the flags that do not hold and say why there."""

    odd_names: ClassVar[tuple[str, ...]] = ODD_NAMES
    """Names this kind of place can hold."""

    changes_show: ClassVar[bool] = True
    """Whether a changed file is another object under the revision that was resolved before."""

    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError("subclass and return a Place")

    def test_a_place_resolves_to_a_name_and_a_reference_without_revision(
        self, place: Place
    ) -> None:
        source = place.make(TREE)
        resolved = source.resolve()
        assert resolved.name
        assert resolved.place.startswith(f"{source.scheme}://")
        assert "@" not in resolved.place.rpartition("/")[2]
        source.close()

    def test_a_missing_place_is_not_found(self, place: Place) -> None:
        source = place.missing()
        with pytest.raises(SourceNotFoundError) as caught:
            source.resolve()
        assert caught.value.exit_code == 3
        source.close()

    def test_every_file_is_listed_once_with_its_size(self, place: Place) -> None:
        source = place.make(TREE)
        entries = listed(source, source.resolve())
        assert {path: entry.size for path, entry in entries.items()} == {
            path: len(data) for path, data in TREE.items()
        }
        assert not any(entry.problem for entry in entries.values())
        for entry in entries.values():
            assert entry.digests.keys() == entry.evidence.keys()
        source.close()

    def test_reading_from_any_offset_gives_the_tail(self, place: Place) -> None:
        source = place.make(TREE)
        resolved = source.resolve()
        for path, entry in listed(source, resolved).items():
            data = TREE[path]
            for offset in sorted({0, 1, len(data) // 2, max(0, len(data) - 1)}):
                if offset == 0 or offset < len(data):
                    assert content(source, resolved, entry, offset) == data[offset:], path
        source.close()

    def test_a_stream_can_be_left_early_and_closed_twice(self, place: Place) -> None:
        source = place.make(TREE)
        resolved = source.resolve()
        entry = listed(source, resolved)["weights.bin"]
        stream = source.open(resolved, entry)
        first = bytes(next(iter(stream.chunks(1000))))
        stream.close()
        stream.close()
        assert first == TREE["weights.bin"][: len(first)]
        assert 0 < len(first) <= 1000
        assert content(source, resolved, entry) == TREE["weights.bin"]
        source.close()

    def test_a_range_ends_where_it_was_asked_to(self, place: Place) -> None:
        source = place.make(TREE)
        resolved = source.resolve()
        entry = listed(source, resolved)["weights.bin"]
        data = TREE["weights.bin"]
        for begin, end in ((0, 1), (1, len(data)), (7, 1000), (0, len(data))):
            with source.open_range(resolved, entry, begin, end) as stream:
                found = b"".join(bytes(piece) for piece in stream.chunks(100))
            assert found == data[begin:end]
        source.close()

    def test_peeking_reads_exactly_what_is_there(self, place: Place) -> None:
        source = place.make(TREE)
        resolved = source.resolve()
        data = TREE["weights.bin"]
        view = source.peek(resolved, listed(source, resolved)["weights.bin"])
        assert view.size == len(data)
        assert view.read_at(0, 8) == data[:8]
        assert view.read_at(77_777, 4_000) == data[77_777:81_777]
        assert view.read_at(len(data) - 3, 100) == data[-3:]
        assert view.read_at(len(data), 10) == b""
        source.close()

    def test_an_unchanged_place_keeps_its_identities(self, place: Place) -> None:
        source = place.make(TREE)
        resolved = source.resolve()
        first = listed(source, resolved)
        again = listed(source, source.resolve())
        assert {path: entry.identity for path, entry in first.items()} == {
            path: entry.identity for path, entry in again.items()
        }
        source.close()

    def test_an_object_changed_after_listing_is_an_error_never_a_mixture(
        self, place: Place
    ) -> None:
        if not self.changes_show:
            pytest.skip("a revision of this source cannot change")
        source = place.make(TREE)
        resolved = source.resolve()
        entry = listed(source, resolved)["weights.bin"]
        place.change("weights.bin", bytes(entry.size))
        for offset in (0, 1000):
            with pytest.raises(ChangedError):
                content(source, resolved, entry, offset)
        source.close()

    def test_several_threads_may_read_at_once(self, place: Place) -> None:
        source = place.make(TREE)
        resolved = source.resolve()
        entries = listed(source, resolved)
        work = [path for path in TREE for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda path: content(source, resolved, entries[path]), work))
        assert results == [TREE[path] for path in work]
        source.close()

    def test_odd_names_are_kept_literally(self, place: Place) -> None:
        tree = {name: name.encode() for name in self.odd_names}
        source = place.make(tree)
        resolved = source.resolve()
        entries = listed(source, resolved)
        assert sorted(entries) == sorted(tree)
        for path, entry in entries.items():
            assert content(source, resolved, entry) == tree[path]
        source.close()

    def test_closing_twice_is_allowed(self, place: Place) -> None:
        source = place.make(TREE)
        source.resolve()
        source.close()
        source.close()
