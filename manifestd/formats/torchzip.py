"""PyTorch files: zip records, tensor names and pickle globals, nothing unpickled (specs 5.8).

``torchzip/1`` calls two archives equal when they have the same records with equal
digests; root name, serialization id and zip framing play no part. Older files and
bare pickles are compared by bytes, and searched for what loading would import.
"""

from __future__ import annotations

import zlib
from typing import Any, ClassVar, Final

from manifestd.formats import pointers, tensorfile, torchtensors
from manifestd.formats.base import Explanation, FormatReader, Outline
from manifestd.formats.bounds import RefusedError, bounded, digests_of, empty_digest, refusal
from manifestd.formats.picklewalk import CLOSED, COMPUTED, MAX_OPCODES, OPCODES, Walk
from manifestd.formats.ziplist import Archive, CutOffError, Member, read_archive
from manifestd.model.content import RandomAccess
from manifestd.model.entry import RegionDigest
from manifestd.model.region import Region

MAX_PICKLE: Final = 8 * 1024 * 1024
_LEGACY: Final = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_LEGACY_PICKLES: Final = 5
_MOST_PICKLES: Final = 50
_FIRST_LOOK: Final = 256 * 1024
_TAR_HEADER: Final = 512
_HEADER: Final = "\0header "


class TorchReader(FormatReader):
    """Reads torch archives; finds the globals of any pickle."""

    name: ClassVar[str] = "torchzip"
    version: ClassVar[str] = "torchzip/1"

    def outline(self, path: str, content: RandomAccess) -> Outline:
        """Read the directory from the tail, the pickles, and name a region for each record."""
        try:
            magic = content.read_at(0, min(_TAR_HEADER, content.size))
            if magic.startswith(b"PK\x03\x04"):
                return self._archive(content)
            return Outline(state={"facts": self._pickle(content, magic)})
        except RefusedError as error:
            return Outline(refused=str(error))

    def _archive(self, content: RandomAccess) -> Outline:
        try:
            archive = read_archive(content)
        except CutOffError:
            raise
        except RefusedError as error:
            # torch loads most archives that are not plain, pickles and all.
            return Outline(state={"facts": self._not_looked_into(str(error))})
        walks = _walk_members(content, archive)
        facts: dict[str, Any] = {
            "format": self.version,
            "root": archive.root,
            "exact": archive.exact,
            **_told(walks),
        }
        if any(member.method for member in archive.members):
            why = "compressed members, which torch does not write: compared by bytes"
            return Outline(state={"facts": {**facts, "refused": why}})
        records, regions = _records(archive)
        facts["records"] = records
        data = walks.get("data.pkl")
        order = _small(content, archive, "byteorder")
        if data is not None and order in {None, b"little"} and data.globals.keys() <= CLOSED:
            tensors = torchtensors.named(data, {r["name"]: r for r in records})
            if tensors is not None:
                facts["tensors"] = tensors
        return Outline(regions=regions, state={"facts": facts})

    def _pickle(self, content: RandomAccess, magic: bytes) -> dict[str, Any]:
        """Facts of a file that is no zip: what its pickles import, or what it is instead."""
        if _is_tar(magic):
            # torch loads its oldest files, which are tar archives of pickles, to this day.
            return self._not_looked_into("a tar archive, compared by bytes")
        if magic[:1] not in OPCODES:
            return refusal(self.version, _other(magic))
        legacy = magic.startswith(_LEGACY)
        data = content.read_at(0, min(_FIRST_LOOK, content.size))
        most = _LEGACY_PICKLES if legacy else _MOST_PICKLES
        walks = _walk_stream(data, most, content.size)
        # Bytes that are no pickle stay none however many of them are read.
        if any(walk.cut for walk in walks.values()) and len(data) < content.size:
            data += content.read_at(len(data), min(MAX_PICKLE, content.size) - len(data))
            walks = _walk_stream(data, most, content.size)
        # Protocols 0 and 1 have no magic: whatever reads as a pickle would be loaded as one.
        if not magic.startswith(b"\x80") and not any(map(_tells, walks.values())):
            return refusal(self.version, _other(magic))
        why = (
            "a torch file from before 1.6, compared by bytes"
            if legacy
            else "a bare pickle, compared by bytes"
        )
        return {"format": self.version, "refused": why, **_told(walks)}

    def _not_looked_into(self, why: str) -> dict[str, Any]:
        """Facts of what loaders may take for an archive with pickles, and this reader does not."""
        finding = _unread("archive", "the archive's pickles were not read")
        return {**refusal(self.version, why), "findings": [finding]}

    def facts(
        self, path: str, outline: Outline, regions: list[RegionDigest] | None, body: bytes | None
    ) -> dict[str, Any] | None:
        """Records with digests, tensors where the pickle names them, globals and findings."""
        if outline.refused is not None:
            return refusal(self.version, outline.refused)
        facts = outline.state.get("facts")
        if facts is None or "records" not in facts:
            return None if facts is None else bounded(facts)
        return bounded(_with_digests(facts, outline.regions, regions))

    def explain(
        self,
        path: str,
        left: dict[str, Any] | None,
        right: dict[str, Any] | None,
        left_body: bytes | None,
        right_body: bytes | None,
    ) -> Explanation | None:
        """Tensors where they are known, else records; imports that came or went first."""
        if left is None or right is None:
            return tensorfile.refusals(left, right, "a torch archive")
        return torchtensors.explain(left, right)


def _other(magic: bytes) -> str:
    if pointers.begins_pointer(magic):
        return pointers.in_words(magic)
    if magic.startswith(b"GGUF"):
        return "a GGUF file under another name"
    return "neither a zip archive nor a pickle"


def _walk_members(content: RandomAccess, archive: Archive) -> dict[str, Walk]:
    """Walk every pickle of an archive, ``data.pkl`` first; unreadable ones are incomplete walks."""
    walks: dict[str, Walk] = {}
    room = MAX_PICKLE
    pickles = [m for m in archive.members if m.name.endswith(".pkl")]
    for member in sorted(pickles, key=lambda m: (not m.name.endswith("/data.pkl"), m.name))[:50]:
        name = member.name.partition("/")[2]
        data = _data(content, member, room) if room > 0 else None
        walks[name] = Walk(data if data is not None else b"")
        room -= len(data or b"")
    return walks


def _data(content: RandomAccess, member: Member, limit: int) -> bytes | None:
    """A member's content by its own local header, inflated at most to ``limit``; None if it is not so."""
    if member.packed > limit or member.size > limit:
        return None
    head = content.read_at(member.header, 30 + len(member.name.encode()) + 4096)
    if head[:4] != b"PK\x03\x04" or len(head) < 30:
        return None
    skip = 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    data = head[skip : skip + member.packed]
    if len(data) < member.packed:
        data += content.read_at(member.header + skip + len(data), member.packed - len(data))
    if member.method == 0:
        return data if zlib.crc32(data) == member.crc else None
    if member.method != 8:
        return None
    unpacker = zlib.decompressobj(-15)
    try:
        plain = unpacker.decompress(data, limit)
    except zlib.error:
        return None
    return plain if zlib.crc32(plain) == member.crc else None


def _small(content: RandomAccess, archive: Archive, name: str) -> bytes | None:
    for member in archive.members:
        if member.name == f"{archive.root}/{name}":
            return (_data(content, member, 64) or b"?").strip()
    return None


def _records(archive: Archive) -> tuple[list[dict[str, Any]], list[Region]]:
    """Records by name without the root; regions of their data, and of headers that were not read."""
    records: list[dict[str, Any]] = []
    regions: list[Region] = []
    for member in archive.members:
        name = member.name.partition("/")[2]
        record: dict[str, Any] = {"name": name, "size": member.size, "crc": f"{member.crc:08x}"}
        if member.begin is not None:
            record |= {"begin": member.begin, "end": member.begin + member.packed}
            if not archive.exact:
                record["headerBegin"] = member.header
                regions.append(Region(_HEADER + name, member.header, member.begin))
            if member.packed:
                regions.append(Region(name, record["begin"], record["end"]))
        records.append(record)
    return records, regions


def _with_digests(
    facts: dict[str, Any], wanted: list[Region], found: list[RegionDigest] | None
) -> dict[str, Any]:
    algorithm, digests = digests_of(found, wanted)
    records = []
    by_place: dict[tuple[int, int], str] = {}
    for plain in facts["records"]:
        record = dict(plain)
        header = record.pop("headerBegin", None)
        if algorithm is not None and "begin" in record:
            begin, end = record["begin"], record["end"]
            digest = digests.get((record["name"], begin, end))
            digest = empty_digest(algorithm) if begin == end else digest
            if digest is not None:
                record["digest"] = by_place[begin, end] = digest
            if header is not None:
                local = digests.get((_HEADER + record["name"], header, begin))
                record |= {"header": local} if local is not None else {}
        records.append(record)
    facts = {**facts, "records": sorted(records, key=lambda record: record["name"])}
    if algorithm is not None:
        facts["digestAlgorithm"] = algorithm
    if "tensors" in facts:
        facts["tensors"] = torchtensors.with_digests(facts["tensors"], by_place)
    return facts


def _walk_stream(data: bytes, most: int, size: int) -> dict[str, Walk]:
    """Walk pickles that stand one behind the other, until one ends in something else."""
    walks: dict[str, Walk] = {}
    at, budget = 0, MAX_OPCODES
    while len(walks) < most:
        walk = Walk(data, at, budget, size)
        # What follows the first pickle is loaded only by who expects it: another pickle.
        if walks and data[at : at + 1] != b"\x80" and not _tells(walk):
            break
        walks[f"pickle at byte {at}"] = walk
        budget -= walk.opcodes
        if not walk.complete or data[walk.end : walk.end + 1] not in OPCODES:
            break
        at = walk.end
    return walks


def _tells(walk: Walk) -> bool:
    """Whether bytes without a pickle's magic are one all the same, as far as anybody can tell."""
    return walk.complete or walk.limited or bool(walk.globals)


def _is_tar(magic: bytes) -> bool:
    """Whether a file begins with the header of a tar archive, whose checksum tells it (ustar)."""
    if len(magic) < _TAR_HEADER:
        return False
    digits = magic[148:156].strip(b" \0")
    if not digits.isdigit():  # so nothing is summed up for thousands of other files
        return False
    total = sum(magic[:148]) + 8 * ord(" ") + sum(magic[156:_TAR_HEADER])
    return digits.lstrip(b"0") == b"%o" % total


def _told(walks: dict[str, Walk]) -> dict[str, Any]:
    """Globals of all walks, and a finding for each pickle that imports more than data needs."""
    names = sorted({name for walk in walks.values() for name in walk.globals})
    findings = []
    unread = False
    for at, walk in walks.items():
        unusual = walk.unusual()
        if unusual:
            shown = ", ".join(unusual[:10]) + (" …" if len(unusual) > 10 else "")
            what = f"loading this pickle imports {shown}"
            if COMPUTED in unusual:
                what += "; a name that is computed while loading hides what it imports"
            findings.append(_finding("pickle-global", at, what))
        if not walk.complete:
            unread = True
    if unread:
        findings.append(_unread(next(iter(walks), "pickle")))
    document: dict[str, Any] = {"globals": names[:1000]}
    return {**document, "findings": findings[:100]} if findings else document


def _unread(at: str, what: str = "a pickle could not be read to its end") -> dict[str, Any]:
    return _finding("pickle-unread", at, f"{what}; what loading imports is not fully known")


def _finding(rule: str, at: str, what: str) -> dict[str, Any]:
    return {"rule": rule, "at": at, "what": what, "impact": "security"}
