"""One file on two sides: what their digests prove (contract, section 1).

A difference is conclusive under any algorithm; equality only under a strong
one. What is neither is ``unverifiable``, and says what agreed and what would
decide. Nothing here touches the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from manifestd.model.change import Basis, FileDiff, FileSide, Verdict
from manifestd.model.digest import STRONG
from manifestd.model.entry import Chunks, File, Problem, Role
from manifestd.model.evidence import Grade, at_least
from manifestd.rules.damage import common_layout, damaged_ranges
from manifestd.rules.gaps import closing
from manifestd.rules.layouts import PROVEN, is_composite, layout_of, recomputed
from manifestd.rules.pointers import Pointing, pointing

PREFERENCE: Final = (
    "sha256", "sha512", "blake3", "sha256-composite", "sha1-git", "sha1", "xet", "md5",
    "xxhash128", "xxhash3", "xxhash64", "crc64nvme", "crc32c", "crc32",
)  # fmt: skip
"""Strongest first; algorithms not listed come last, by name."""

NOT_CONTENT: Final = frozenset(
    {"special-file", "symlink", "symlink-escapes", "not-utf8", "lfs-pointer"}
)
"""Problems under which a side's size says nothing about the file."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one side of a pair besides its :class:`File`.

    Attributes:
        chunks: Digests of equal pieces, under each layout that was computed.
        problem: Why the file could not be read there.
        place: The side's reference, for hints.
    """

    chunks: Sequence[Chunks] = ()
    problem: Problem | None = None
    place: str = ""


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """A digest both sides can be compared by."""

    algorithm: str
    left: str
    right: str
    basis: Basis

    @property
    def equal(self) -> bool:
        """Whether the values agree."""
        return self.left == self.right

    def reaches(self, minimum: Grade) -> bool:
        """Whether both sides know it at least this well."""
        return at_least(self.basis.left, minimum) and at_least(self.basis.right, minimum)


_NOTHING: Final = About()


def judge(
    path: str,
    left: File,
    right: File,
    *,
    about_left: About = _NOTHING,
    about_right: About = _NOTHING,
    min_evidence: Grade = "none",
) -> FileDiff:
    """Compare one path's two sides.

    Args:
        path: The path it is reported under.
        left: One side.
        right: The other.
        about_left: Chunk digests, problem and place of the left side.
        about_right: The same of the right side.
        min_evidence: Equality known less well than this is ``unverifiable``.

    Returns:
        ``identical``, ``different`` or ``unverifiable``, with the basis.
    """
    common = list(common_digests(left, right, about_left.chunks, about_right.chunks))
    about_left, about_right = _telling(about_left), _telling(about_right)
    codes = {about.problem.code for about in (about_left, about_right) if about.problem}
    # What was imported from a list of digests has no size, and says so.
    unsized = [name for name, file in (("left", left), ("right", right)) if not file.sized]
    decision = _decide(
        left, right, common, min_evidence, sizes_count=not (codes & NOT_CONTENT or unsized)
    )
    algorithm = decision.basis.algorithm if decision.basis else None
    reasons = [decision.reason, *_problems(about_left.problem, about_right.problem)]
    if decision.verdict != "identical":
        reasons += [f"{name}: no size is known" for name in unsized]
    shown = FileDiff(
        path=path,
        verdict=decision.verdict,
        role=role_of_pair(left, right),
        left=side_of(left, algorithm),
        right=side_of(right, algorithm),
        basis=decision.basis,
        reason="; ".join(filter(None, reasons)) or None,
    )
    if decision.verdict == "unverifiable":
        hint = _hint(left, right, about_left, about_right, min_evidence)
        return msgspec.structs.replace(shown, hint=hint)
    return _located(shown, left, right, about_left.chunks, about_right.chunks)


def common_digests(
    left: File, right: File, left_chunks: Sequence[Chunks] = (), right_chunks: Sequence[Chunks] = ()
) -> Iterator[Common]:
    """Every digest the two sides can be compared by, strongest first.

    Composites count where the parts were cut alike, or where one side's composite can be
    recomputed from the other's chunk digests (cross-evidence). Equal sha256 composites count
    without known layouts too: equal values mean equal lists of part digests, hence equal parts.
    """
    mine, theirs = _known(left), _known(right)
    names = mine.keys() | theirs.keys()
    for name in sorted(names, key=_rank):
        if is_composite(name):
            found = _composite(name, left, right, left_chunks, right_chunks)
            if found is not None:
                yield found
        elif name in mine and name in theirs:
            yield _common(name, mine[name], theirs[name], _grade(left, name), _grade(right, name))


def role_of_pair(left: File, right: File) -> Role:
    """The role either side knows."""
    return left.seen.role if left.seen.role != "other" else right.seen.role


def side_of(file: File, algorithm: str | None = None) -> FileSide:
    """One side as the diff shows it, with the grade of ``algorithm`` or of its strongest digest."""
    digests = file.digests()
    if algorithm not in digests:
        algorithm = min(digests, key=_rank, default=None)
    grade = _grade(file, algorithm) if algorithm is not None else "none"
    return FileSide(size=file.size, digests=digests, evidence=grade)


class _Decision(msgspec.Struct, frozen=True):
    verdict: Verdict
    basis: Basis | None
    reason: str | None = None


def _decide(
    left: File, right: File, common: list[Common], minimum: Grade, *, sizes_count: bool
) -> _Decision:
    """The verdict table; ``common`` comes strongest first."""
    unequal = next((one for one in common if not one.equal), None)
    strong = [one for one in common if one.algorithm in STRONG]
    if left.size != right.size and sizes_count:
        return _of_sizes(left, right, common, unequal)
    if strong and strong[0].equal:
        proof = next((one for one in strong if one.equal and one.reaches(minimum)), None)
        if proof is not None:
            return _Decision("identical", proof.basis)
        if unequal is None:
            return _Decision("unverifiable", strong[0].basis, _too_weak(strong[0], minimum))
    if unequal is not None:
        return _Decision("different", unequal.basis, f"{unequal.algorithm} differs")
    pointed = pointing(left, right)
    if pointed is not None:
        return _of_pointers(pointed)
    agreed = common[0].basis if common else None
    if not sizes_count and not common:
        return _Decision("unverifiable", None, "there is no content to compare")
    return _Decision("unverifiable", agreed, _undecided(left, right, common))


def _of_pointers(pointed: Pointing) -> _Decision:
    """Other contents are meant, or the same one is missing: what a pointer says is a declaration."""
    if pointed.same:
        return _Decision("unverifiable", None, pointed.reason)
    basis = Basis(algorithm="sha256", left=pointed.left, right=pointed.right)
    return _Decision("different", basis, pointed.reason)


def _of_sizes(left: File, right: File, common: list[Common], unequal: Common | None) -> _Decision:
    """Other sizes are other bytes; the size is as well known as the digest that covers it."""
    reason = f"{left.size} bytes and {right.size} bytes"
    if unequal is not None:
        return _Decision("different", unequal.basis, reason)
    if common:
        reason += f"; {_names(common)} agree nevertheless, so one side's listing is wrong"
    basis = Basis(algorithm="size", left=side_of(left).evidence, right=side_of(right).evidence)
    return _Decision("different", basis, reason)


def _known(file: File) -> dict[str, str]:
    """Digests whose evidence says anything at all."""
    return {name: value for name, value in file.digests().items() if _grade(file, name) != "none"}


def _grade(file: File, algorithm: str) -> Grade:
    return file.seen.evidence.get(algorithm, "none")


def _rank(algorithm: str) -> tuple[int, str]:
    position = PREFERENCE.index(algorithm) if algorithm in PREFERENCE else len(PREFERENCE)
    return position, algorithm


def _common(name: str, left: str, right: str, left_grade: Grade, right_grade: Grade) -> Common:
    basis = Basis(algorithm=name, left=left_grade, right=right_grade)
    return Common(algorithm=name, left=left, right=right, basis=basis)


def _composite(
    name: str,
    left: File,
    right: File,
    left_chunks: Sequence[Chunks],
    right_chunks: Sequence[Chunks],
) -> Common | None:
    mine, theirs = _known(left).get(name), _known(right).get(name)
    left_grade, right_grade = _grade(left, name), _grade(right, name)
    left_layout, right_layout = layout_of(left, name), layout_of(right, name)
    if mine is not None and theirs is not None:
        unknown = left_layout is None or right_layout is None
        if left_layout == right_layout and not unknown:
            return _common(name, mine, theirs, left_grade, right_grade)
        if unknown and mine == theirs:
            return _common(name, mine, theirs, left_grade, right_grade)
    # Chunk digests come from the pass that measured the side's sha256, so they share its grade.
    if mine is not None:
        value = recomputed(right, right_chunks, name, left_layout)
        if value is not None and (value == mine or name in PROVEN):
            return _common(name, mine, value, left_grade, right.grade())
    if theirs is not None:
        value = recomputed(left, left_chunks, name, right_layout)
        if value is not None and (value == theirs or name in PROVEN):
            return _common(name, value, theirs, left.grade(), right_grade)
    return None


def _located(
    diff: FileDiff,
    left: File,
    right: File,
    left_chunks: Sequence[Chunks],
    right_chunks: Sequence[Chunks],
) -> FileDiff:
    """Name the damaged byte ranges where both sides have chunk digests of one layout."""
    if diff.verdict != "different":
        return diff
    layout = common_layout(left_chunks, right_chunks)
    if layout is None:
        return diff
    changes, more = damaged_ranges(*layout, left.size, right.size)
    return msgspec.structs.replace(diff, changes=changes, more_changes=more)


def _names(common: list[Common]) -> str:
    return ", ".join(one.algorithm for one in common if one.equal)


def _too_weak(decisive: Common, min_evidence: Grade) -> str:
    basis = decisive.basis
    return (
        f"{decisive.algorithm} agrees, but is only {basis.left} on the left and {basis.right} "
        f"on the right; {min_evidence} was asked for"
    )


def _undecided(left: File, right: File, common: list[Common]) -> str:
    if common:
        sizes = " and the size" if left.size == right.size else ""
        return f"only {_names(common)}{sizes} agree, which does not prove equal bytes"
    mine, theirs = _known(left), _known(right)
    if not mine and not theirs:
        return "only the size agrees; neither side has a digest"
    if not mine or not theirs:
        return f"only the size agrees; the {'right' if mine else 'left'} side has no digest"
    shared = sorted(mine.keys() & theirs.keys())
    if shared:
        return (
            f"only the size agrees; {', '.join(shared)} on the two sides come from other part sizes"
        )
    return (
        f"only the size agrees; the left has {', '.join(sorted(mine, key=_rank))}, "
        f"the right {', '.join(sorted(theirs, key=_rank))}"
    )


def _hint(
    left: File, right: File, about_left: About, about_right: About, minimum: Grade
) -> str | None:
    """What the sources advise about their problems; else the command that reads what is missing."""
    advice = [about.problem.hint for about in (about_left, about_right) if about.problem]
    known = list(dict.fromkeys(filter(None, advice)))
    if known:
        return "; ".join(known)
    return closing(left, right, (about_left.place, about_right.place), minimum)


def _telling(about: About) -> About:
    """Without a problem that says no more than the missing digest itself does."""
    if about.problem is not None and about.problem.code == "no-sha256":
        return msgspec.structs.replace(about, problem=None)
    return about


def _problems(left: Problem | None, right: Problem | None) -> list[str]:
    if left is not None and right is not None and left.what == right.what:
        return [f"both sides: {left.what}"]
    return [
        f"{name}: {problem.what}"
        for name, problem in (("left", left), ("right", right))
        if problem is not None
    ]
