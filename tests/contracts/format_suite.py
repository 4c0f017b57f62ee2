"""What every format reader promises (``formats/base.py``), proved for each by a subclass."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod

import pytest

from manifestd.formats import FORMATS, reader_for
from tests.formats.support import Content, explain, facts_of


class FormatSuite(ABC):
    """A subclass names a reader and gives it one good file, and some that are damaged."""

    name: str
    path: str
    max_read = 1 << 20

    @abstractmethod
    def good(self) -> bytes:
        """A file its real library reads."""

    @abstractmethod
    def damaged(self) -> list[bytes]:
        """Files no reader may call equivalent to anything."""

    def test_its_table_line_leads_to_it(self) -> None:
        reader = reader_for(self.path, len(self.good()))
        assert reader is not None
        assert (reader.name, type(reader)) == (self.name, FORMATS.load(self.name))
        assert reader.version.startswith(f"{self.name}/")
        assert reader.recognizes(self.path, 1)
        assert not reader.recognizes("picture.png", 1)

    def test_facts_of_a_good_file_are_not_refused(self) -> None:
        assert "refused" not in (facts_of(self.path, self.good()) or {})

    def test_facts_do_not_depend_on_chance(self) -> None:
        assert facts_of(self.path, self.good()) == facts_of(self.path, self.good())

    def test_a_damaged_file_is_bytes_only(self) -> None:
        for damaged in self.damaged():
            for pair in ((damaged, self.good()), (self.good(), damaged), (damaged, damaged)):
                found = explain(self.path, *pair)
                assert found is None or pair[0] == pair[1] or not found.equivalent

    def test_headers_are_read_in_small_pieces(self) -> None:
        reader = reader_for(self.path, 1)
        assert reader is not None
        content = Content(self.good())
        if not reader.needs_body:
            reader.outline(self.path, content)
        assert content.bytes_read <= self.max_read

    def test_missing_facts_explain_nothing_and_break_nothing(self) -> None:
        reader = reader_for(self.path, 1)
        assert reader is not None
        for left, right in ((None, None), ({}, {}), ({"format": 1}, {"tensors": [1]})):
            found = reader.explain(self.path, left, right, None, None)
            assert found is None or not found.equivalent

    def test_no_damage_makes_it_fail_or_claim_equality(self) -> None:
        good = self.good()
        dice = random.Random(20)
        for _ in range(250):
            at = dice.randrange(len(good))
            bad = dice.choice([
                good[:at] + bytes([good[at] ^ (1 << dice.randrange(8))]) + good[at + 1 :],
                good[:at],
                good[:at] + good[at + 1 :],
                good[:at] + good[at : at + 8] + good[at:],
            ])  # fmt: skip
            found = explain(self.path, good, bad)
            if found is not None and found.equivalent:
                self.really_equal(good, bad)

    def really_equal(self, left: bytes, right: bytes) -> None:
        """Called when damage was called equivalent: the real library must agree."""
        pytest.fail(f"called equivalent: {left!r} and {right!r}")
