"""One file on two sides: the verdict table, its basis, and what it says."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.model.change import Basis, FileDiff
from manifestd.model.digest import STRONG
from manifestd.model.entry import File, Problem
from manifestd.model.evidence import GRADES, Grade, weaker
from manifestd.rules.compare import About, judge, side_of
from tests.rules.trees import chunks_of, composite, file_of

ONE = b"the first content"
TWO = b"the other content"


class Case(NamedTuple):
    left: dict[str, Grade]
    right: dict[str, Grade]
    same: bool
    verdict: str
    basis: tuple[str, Grade, Grade] | None
    reason: str | None


CASES: dict[str, Case] = {
    "equal sha256 measured on both sides is identical": Case(
        {"sha256": "measured"}, {"sha256": "measured"}, True,
        "identical", ("sha256", "measured", "measured"), None,
    ),
    "equal declared sha256 is identical and says how weakly it is known": Case(
        {"sha256": "declared"}, {"sha256": "stored"}, True,
        "identical", ("sha256", "declared", "stored"), None,
    ),
    "unequal sha256 is different": Case(
        {"sha256": "measured"}, {"sha256": "reused"}, False,
        "different", ("sha256", "measured", "reused"), "sha256 differs",
    ),
    "equal sha512 alone is identical": Case(
        {"sha512": "stored"}, {"sha512": "measured", "sha256": "measured"}, True,
        "identical", ("sha512", "stored", "measured"), None,
    ),
    "equal blake3 alone is identical": Case(
        {"blake3": "measured"}, {"blake3": "measured"}, True,
        "identical", ("blake3", "measured", "measured"), None,
    ),
    "the strongest common digest is the basis": Case(
        {"md5": "stored", "sha256": "stored"}, {"md5": "measured", "sha256": "measured"}, False,
        "different", ("sha256", "stored", "measured"), "sha256 differs",
    ),
    "equal md5 is never identical": Case(
        {"md5": "stored"}, {"md5": "measured", "sha256": "measured"}, True,
        "unverifiable", ("md5", "stored", "measured"),
        "only md5 and the size agree, which does not prove equal bytes",
    ),
    "equal git blob id is never identical": Case(
        {"sha1-git": "declared"}, {"sha1-git": "measured", "sha256": "measured"}, True,
        "unverifiable", ("sha1-git", "declared", "measured"),
        "only sha1-git and the size agree, which does not prove equal bytes",
    ),
    "equal crc64nvme is never identical": Case(
        {"crc64nvme": "stored"}, {"crc64nvme": "stored"}, True,
        "unverifiable", ("crc64nvme", "stored", "stored"),
        "only crc64nvme and the size agree, which does not prove equal bytes",
    ),
    "several weak digests are named strongest first": Case(
        {"crc32": "stored", "md5": "stored"}, {"crc32": "stored", "md5": "stored"}, True,
        "unverifiable", ("md5", "stored", "stored"),
        "only md5, crc32 and the size agree, which does not prove equal bytes",
    ),
    "unequal md5 is different": Case(
        {"md5": "stored"}, {"md5": "measured", "sha256": "measured"}, False,
        "different", ("md5", "stored", "measured"), "md5 differs",
    ),
    "unequal crc32 is different": Case(
        {"crc32": "declared"}, {"crc32": "declared"}, False,
        "different", ("crc32", "declared", "declared"), "crc32 differs",
    ),
    "an unknown algorithm proves a difference": Case(
        {"whirl9": "stored"}, {"whirl9": "stored"}, False,
        "different", ("whirl9", "stored", "stored"), "whirl9 differs",
    ),
    "an unknown algorithm never proves equality": Case(
        {"whirl9": "stored"}, {"whirl9": "stored"}, True,
        "unverifiable", ("whirl9", "stored", "stored"),
        "only whirl9 and the size agree, which does not prove equal bytes",
    ),
    "no common digest is unverifiable and names what each side has": Case(
        {"md5": "stored", "crc32": "stored"}, {"sha256": "measured"}, True,
        "unverifiable", None, "only the size agrees; the left has md5, crc32, the right sha256",
    ),
    "no digest on one side is unverifiable": Case(
        {"sha256": "measured"}, {}, True,
        "unverifiable", None, "only the size agrees; the right side has no digest",
    ),
    "no digest at all is unverifiable": Case(
        {}, {}, True, "unverifiable", None, "only the size agrees; neither side has a digest",
    ),
    "a digest without evidence counts for nothing": Case(
        {"sha256": "none"}, {"sha256": "measured"}, True,
        "unverifiable", None, "only the size agrees; the left side has no digest",
    ),
    "composites of unknown and unequal value prove nothing": Case(
        {"sha256-composite": "stored"}, {"sha256-composite": "stored"}, False,
        "unverifiable", None,
        "only the size agrees; sha256-composite on the two sides come from other part sizes",
    ),
    "equal sha256 composites have equal parts, known or not": Case(
        {"sha256-composite": "stored"}, {"sha256-composite": "stored"}, True,
        "identical", ("sha256-composite", "stored", "stored"), None,
    ),
    "equal md5 composites are never identical": Case(
        {"md5-composite": "stored"}, {"md5-composite": "stored"}, True,
        "unverifiable", ("md5-composite", "stored", "stored"),
        "only md5-composite and the size agree, which does not prove equal bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_verdict_table(case: Case) -> None:
    left = file_of("model.bin", ONE, known=case.left)
    right = file_of("model.bin", ONE if case.same else TWO, known=case.right)
    found = judge("model.bin", left, right)
    assert (found.verdict, found.reason) == (case.verdict, case.reason)
    assert found.basis == (
        case.basis and Basis(algorithm=case.basis[0], left=case.basis[1], right=case.basis[2])
    )
    assert found.role == "weights"
    if found.basis is not None:
        assert (found.left and found.left.evidence) == found.basis.left
        assert (found.right and found.right.evidence) == found.basis.right


def test_other_sizes_are_different_without_any_digest() -> None:
    found = judge("a", file_of("a", b"1", known={}), file_of("a", b"12", known={}))
    assert found.verdict == "different"
    assert found.basis == Basis(algorithm="size", left="none", right="none")
    assert found.reason == "1 bytes and 2 bytes"


def test_other_sizes_under_an_equal_digest_are_different_and_called_a_contradiction() -> None:
    left = file_of("a", ONE, known={"sha256": "declared"})
    found = judge("a", left, file_of("a", ONE, size=3))
    assert found.verdict == "different"
    assert found.basis is not None
    assert found.basis.algorithm == "size"
    assert "sha256 agree nevertheless" in (found.reason or "")


@pytest.mark.parametrize("code", ["special-file", "symlink-escapes"])
def test_the_size_of_what_is_no_file_proves_nothing(code: str) -> None:
    problem = Problem(path="a", code=code, what="it is a fifo")
    found = judge(
        "a", file_of("a", b"", known={}), file_of("a", ONE), about_left=About(problem=problem)
    )
    assert found.verdict == "unverifiable"
    assert found.reason == "there is no content to compare; left: it is a fifo"


def test_an_unreadable_file_of_another_size_is_still_different() -> None:
    problem = Problem(path="a", code="access-denied", what="archived in GLACIER")
    found = judge(
        "a", file_of("a", b"1", known={}), file_of("a", ONE), about_left=About(problem=problem)
    )
    assert found.verdict == "different"
    assert "left: archived in GLACIER" in (found.reason or "")


@pytest.mark.parametrize("minimum", GRADES)
@pytest.mark.parametrize("left", GRADES[:-1])
@pytest.mark.parametrize("right", GRADES[:-1])
def test_equality_counts_only_at_the_grade_asked_for(
    left: Grade, right: Grade, minimum: Grade
) -> None:
    pair = (
        file_of("a", ONE, known={"sha256": left}),
        file_of("a", ONE, known={"sha256": right}),
    )
    found = judge("a", *pair, min_evidence=minimum)
    enough = GRADES.index(weaker(left, right)) <= GRADES.index(minimum)
    assert found.verdict == ("identical" if enough else "unverifiable")
    assert found.basis == Basis(algorithm="sha256", left=left, right=right)


def test_a_difference_needs_no_minimum() -> None:
    left = file_of("a", ONE, known={"md5": "declared"})
    right = file_of("a", TWO, known={"md5": "declared"})
    assert judge("a", left, right, min_evidence="measured").verdict == "different"


def test_a_better_known_strong_digest_is_used_when_the_best_is_too_weak() -> None:
    known: dict[str, Grade] = {"sha256": "declared", "sha512": "stored"}
    pair = file_of("a", ONE, known=known), file_of("a", ONE, known=known)
    found = judge("a", *pair, min_evidence="stored")
    assert found.verdict == "identical"
    assert found.basis == Basis(algorithm="sha512", left="stored", right="stored")


class TestHints:
    def test_the_side_without_sha256_is_the_one_to_read(self) -> None:
        left, right = file_of("a", ONE), file_of("a", ONE, known={"md5": "stored"})
        about = About(place="hf://org/m@abc"), About(place="s3://bucket/a prefix/")
        found = judge("a", left, right, about_left=about[0], about_right=about[1])
        assert found.hint == (
            "run `manifestd snapshot s3 's3://bucket/a prefix/' --read missing` "
            "(or let S3 compute it, without reading: --explain), then compare again"
        )

    def test_too_weak_evidence_asks_for_every_byte(self) -> None:
        left, right = file_of("a", ONE), file_of("a", ONE, known={"sha256": "declared"})
        found = judge(
            "a", left, right, about_right=About(place="hf://org/m"), min_evidence="measured"
        )
        assert found.hint == "run `manifestd snapshot hf hf://org/m --read all`, then compare again"

    def test_an_unknown_place_gives_no_command(self) -> None:
        found = judge("a", file_of("a", ONE, known={}), file_of("a", ONE, known={}))
        assert found.hint is None


BIG = bytes(range(256)) * 40  # 10,240 bytes
PART = 4096


def uploaded(data: bytes, part: int | None = PART, name: str = "sha256", **more: Any) -> File:
    """As an object store keeps a multipart upload: a composite and no digest of the bytes."""
    layout = {"composite": {"algorithm": name, **({"partSize": part} if part else {}), **more}}
    bare = file_of("m", data, known={f"{name}-composite": "stored"}, hints=layout)
    value = {f"{name}-composite": composite(name, data, part or PART)}
    return msgspec.structs.replace(bare, seen=msgspec.structs.replace(bare.seen, digests=value))


class TestComposites:
    def test_the_same_layout_compares(self) -> None:
        assert judge("m", uploaded(BIG), uploaded(BIG)).verdict == "identical"
        flipped = b"\xff" + BIG[1:]
        found = judge("m", uploaded(BIG), uploaded(flipped))
        assert (found.verdict, found.reason) == ("different", "sha256-composite differs")

    def test_another_layout_proves_nothing_of_the_same_bytes(self) -> None:
        found = judge("m", uploaded(BIG), uploaded(BIG, 8192))
        assert found.verdict == "unverifiable"
        assert "other part sizes" in (found.reason or "")

    def test_one_part_size_list_is_the_layout_it_spells(self) -> None:
        spelled = uploaded(BIG, None, partSizes=[4096, 4096, 2048])
        assert judge("m", uploaded(BIG), spelled).verdict == "identical"

    def test_part_sizes_that_do_not_add_up_are_not_believed(self) -> None:
        wrong = uploaded(BIG, None, partSizes=[4096, 4096, 4096])
        flipped = uploaded(b"\xff" + BIG[1:])
        assert judge("m", wrong, flipped).verdict == "unverifiable"

    @pytest.mark.parametrize("swapped", [False, True])
    def test_a_measured_side_recomputes_the_composite_from_its_chunks(self, swapped: bool) -> None:
        stored, measured = uploaded(BIG), file_of("m", BIG)
        about = About(chunks=[chunks_of("sha256", BIG, PART)])
        found = (
            judge("m", measured, stored, about_left=about)
            if swapped
            else judge("m", stored, measured, about_right=about)
        )
        grades: tuple[Grade, Grade] = ("measured", "stored") if swapped else ("stored", "measured")
        assert found.verdict == "identical"
        assert found.basis == Basis(algorithm="sha256-composite", left=grades[0], right=grades[1])

    def test_a_flipped_bit_shows_in_the_recomputed_composite(self) -> None:
        damaged = BIG[:5000] + b"\x00" + BIG[5001:]
        about = About(chunks=[chunks_of("sha256", damaged, PART)])
        found = judge("m", uploaded(BIG), file_of("m", damaged), about_right=about)
        assert (found.verdict, found.reason) == ("different", "sha256-composite differs")

    def test_chunks_of_another_size_or_algorithm_recompute_nothing(self) -> None:
        for chunks in (chunks_of("sha256", BIG, 2048), chunks_of("md5", BIG, PART)):
            found = judge("m", uploaded(BIG), file_of("m", BIG), about_right=About(chunks=[chunks]))
            assert found.verdict == "unverifiable"

    def test_an_object_of_one_part_compares_with_the_digest_itself(self) -> None:
        small = uploaded(ONE, 1 << 20)
        assert judge("m", small, file_of("m", ONE)).verdict == "identical"
        assert judge("m", small, file_of("m", TWO)).verdict == "different"

    def test_an_md5_composite_recomputed_agrees_but_proves_nothing(self) -> None:
        about = About(chunks=[chunks_of("md5", BIG, PART)])
        found = judge("m", uploaded(BIG, name="md5"), file_of("m", BIG), about_right=about)
        assert found.verdict == "unverifiable"
        assert "md5-composite" in (found.reason or "")

    def test_an_md5_composite_that_cannot_be_recomputed_is_no_difference(self) -> None:
        about = About(chunks=[chunks_of("md5", bytes(len(BIG)), PART)])
        found = judge(
            "m", uploaded(BIG, name="md5"), file_of("m", bytes(len(BIG))), about_right=about
        )
        assert found.verdict == "unverifiable"

    @pytest.mark.parametrize(
        "hint",
        [{"partSize": -1}, {"partSize": "x"}, {"partSizes": "x"}, {"partSizes": [1, "y"]}, 7],
    )
    def test_nonsense_hints_are_unknown_layouts(self, hint: Any) -> None:
        value = {"algorithm": "sha256", **hint} if isinstance(hint, dict) else hint
        odd = file_of("m", BIG, known={"sha256-composite": "stored"}, hints={"composite": value})
        assert judge("m", odd, uploaded(BIG)).verdict == "unverifiable"


class TestDamage:
    def test_chunks_of_one_layout_locate_it_and_join_neighbours(self) -> None:
        damaged = bytearray(BIG)
        damaged[10] ^= 1
        damaged[1025] ^= 1
        damaged[9000] ^= 1
        found = judge(
            "m", file_of("m", BIG), file_of("m", bytes(damaged)),
            about_left=About(chunks=[chunks_of("sha256", BIG, 1024)]),
            about_right=About(chunks=[chunks_of("sha256", bytes(damaged), 1024)]),
        )  # fmt: skip
        assert [change.at for change in found.changes] == ["bytes 0-2047", "bytes 8192-9215"]
        assert found.more_changes == 0

    def test_the_tail_of_the_longer_side_is_named(self) -> None:
        short = BIG[:8192]
        found = judge(
            "m", file_of("m", BIG), file_of("m", short),
            about_left=About(chunks=[chunks_of("sha256", BIG, 4096)]),
            about_right=About(chunks=[chunks_of("sha256", short, 4096)]),
        )  # fmt: skip
        assert [(change.at, change.what) for change in found.changes] == [
            ("bytes 8192-10239", "2048 bytes are only on the left")
        ]

    def test_layouts_that_differ_locate_nothing(self) -> None:
        other = bytes(len(BIG))
        found = judge(
            "m", file_of("m", BIG), file_of("m", other),
            about_left=About(chunks=[chunks_of("sha256", BIG, 1024)]),
            about_right=About(chunks=[chunks_of("md5", other, 1024)]),
        )  # fmt: skip
        assert (found.verdict, found.changes) == ("different", [])

    def test_many_ranges_are_bounded_and_counted(self) -> None:
        data = bytes(3000)
        damaged = bytes(index % 20 == 0 for index in range(3000))
        found = judge(
            "m", file_of("m", data), file_of("m", damaged),
            about_left=About(chunks=[chunks_of("sha256", data, 10)]),
            about_right=About(chunks=[chunks_of("sha256", damaged, 10)]),
        )  # fmt: skip
        assert (len(found.changes), found.more_changes) == (100, 50)


GRADED = st.dictionaries(
    st.sampled_from(["sha256", "sha512", "md5", "crc32", "sha1-git", "blake3", "sha256-composite"]),
    st.sampled_from(GRADES),
)
FILES = st.builds(
    lambda data, known: file_of("a", data, known=known), st.sampled_from([ONE, TWO, b""]), GRADED
)


@given(FILES, FILES, st.sampled_from(GRADES))
def test_swapping_the_sides_swaps_the_answer_and_changes_nothing(
    left: File, right: File, minimum: Grade
) -> None:
    there, back = (
        judge("a", left, right, min_evidence=minimum),
        judge("a", right, left, min_evidence=minimum),
    )
    assert swapped(there) == (back.verdict, back.left, back.right, back.basis)


def swapped(diff: FileDiff) -> tuple[Any, ...]:
    basis = diff.basis
    turned = basis and Basis(algorithm=basis.algorithm, left=basis.right, right=basis.left)
    return diff.verdict, diff.right, diff.left, turned


@given(FILES, FILES, st.sampled_from(GRADES))
def test_no_verdict_contradicts_the_bytes(left: File, right: File, minimum: Grade) -> None:
    found = judge("a", left, right, min_evidence=minimum)
    truly_equal = left.size == right.size and not any(
        left.digests()[name] != right.digests()[name]
        for name in left.digests().keys() & right.digests().keys()
    )
    if found.verdict == "identical":
        assert truly_equal
        assert found.basis is not None
        assert found.basis.algorithm in STRONG
        assert found.basis.left != "none"
        assert found.basis.right != "none"
    if found.verdict == "different":
        assert not truly_equal


@given(FILES)
def test_a_file_is_never_different_from_itself(one: File) -> None:
    found = judge("a", one, one)
    strong = STRONG & {name for name, grade in one.seen.evidence.items() if grade != "none"}
    assert found.verdict == ("identical" if strong & one.digests().keys() else "unverifiable")


def test_a_side_shows_the_grade_of_its_strongest_digest() -> None:
    one = file_of("a", ONE, known={"crc32": "stored", "md5": "declared"})
    assert side_of(one).evidence == "declared"
    assert side_of(one, "crc32").evidence == "stored"
