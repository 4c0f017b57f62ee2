"""The ladder, against answers as the real service gives them (and as lesser servers do)."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import pytest

from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import parse_s3
from manifestd.sources.base import SourceSettings
from manifestd.sources.s3 import S3Source
from manifestd.sources.s3_checksums import (
    best_composite,
    checksums_of,
    composite,
    equal_parts,
    layout,
    md5_etag,
    multipart_etag,
    parts_of,
)
from tests.contracts.source_suite import everything
from tests.support.s3_faults import FaultServer, Reply, Seen, error

PART = 5 * 1024 * 1024
DATA = b"".join(number.to_bytes(4, "big") for number in range(3 * PART // 4 - 1000))
PIECES = [DATA[start : start + PART] for start in range(0, len(DATA), PART)]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def listing(algorithm: str, kind: str, storage: str = "") -> str:
    extra = f"<StorageClass>{storage}</StorageClass>" if storage else ""
    return (
        f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm>"
        f"<ChecksumType>{kind}</ChecksumType>{extra}"
    )


def checksum(algorithm: str, kind: str, value: str) -> dict[str, str]:
    return {f"x-amz-checksum-{algorithm}": value, "x-amz-checksum-type": kind}


def climb(**options: Any) -> tuple[dict[str, Entry], list[Problem]]:
    source = S3Source(parse_s3("s3://bucket/p/"), SourceSettings(retry_budget=0.0, options=options))
    found = everything(source, source.resolve())
    source.close()
    return found


def test_a_full_object_sha256_is_stored_evidence_for_one_head_and_no_byte(
    server: FaultServer,
) -> None:
    value = checksum("sha256", "FULL_OBJECT", b64(sha256(DATA)))
    server.put("p/x", DATA, headers=value, listing=listing("SHA256", "FULL_OBJECT"))
    entries, problems = climb()
    assert entries["x"].digests["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert entries["x"].evidence["sha256"] == "stored"
    assert problems == []
    assert (server.count("HEAD"), server.count("GET", "p/x"), server.sent) == (1, 0, 0)


def test_a_composite_sha256_is_never_a_sha256(server: FaultServer) -> None:
    whole = sha256(b"".join(sha256(piece) for piece in PIECES))
    server.put(
        "p/x",
        DATA,
        etag="0" * 32 + "-3",
        headers=checksum("sha256", "COMPOSITE", b64(whole) + "-3"),
        listing=listing("SHA256", "COMPOSITE"),
    )
    server.replies["GET", "p/x"] = lambda seen: attributes(server, seen)
    entry = climb()[0]["x"]
    assert "sha256" not in entry.digests
    assert entry.digests["sha256-composite"] == whole.hex()
    assert entry.hints["composite"] == {
        "algorithm": "sha256",
        "count": 3,
        "partSize": PART,
        "parts": [hashlib.sha256(piece).hexdigest() for piece in PIECES],
    }
    assert server.sent == 0


def attributes(
    server: FaultServer, seen: Seen, *, spoil: bool = False, page: int = 2
) -> Reply | None:
    """GetObjectAttributes of a composite upload, paged; the value there has no ``-N``."""
    if "attributes" not in seen.query:
        return None
    assert "partNumber" not in seen.query
    start = int(seen.headers.get("x-amz-part-number-marker", "0"))
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><Size>{len(piece)}</Size>"
        f"<ChecksumSHA256>{b64(sha256(piece + (b'!' if spoil else b'')))}</ChecksumSHA256></Part>"
        for number, piece in list(enumerate(PIECES, 1))[start : start + page]
    )
    more = start + page < len(PIECES)
    following = f"<NextPartNumberMarker>{start + page}</NextPartNumberMarker>" if more else ""
    stored = server.objects[seen.key]
    return Reply(
        body=(
            f"<GetObjectAttributesResponse><ETag>{stored.etag}</ETag>"
            f"<ObjectParts><IsTruncated>{str(more).lower()}</IsTruncated>{following}"
            f"<PartsCount>3</PartsCount>{parts}</ObjectParts>"
            f"<ObjectSize>{len(stored.data)}</ObjectSize></GetObjectAttributesResponse>"
        ).encode()
    )


def test_parts_that_do_not_give_their_composite_are_not_used(server: FaultServer) -> None:
    whole = sha256(b"".join(sha256(piece) for piece in PIECES))
    server.put(
        "p/x",
        DATA,
        headers=checksum("sha256", "COMPOSITE", b64(whole) + "-3"),
        listing=listing("SHA256", "COMPOSITE"),
    )
    server.replies["GET", "p/x"] = lambda seen: attributes(server, seen, spoil=True)
    entries, problems = climb()
    assert entries["x"].digests == {}
    assert "parts" not in entries["x"].hints["composite"]
    assert [one.code for one in problems] == ["composite-mismatch"]


def test_refused_attributes_lower_the_evidence_and_are_said_once(server: FaultServer) -> None:
    whole = sha256(b"".join(sha256(piece) for piece in PIECES))
    for name in ("p/a", "p/b", "p/c"):
        server.put(
            name,
            DATA,
            headers=checksum("sha256", "COMPOSITE", b64(whole) + "-3"),
            listing=listing("SHA256", "COMPOSITE"),
        )
        server.replies["GET", name] = lambda seen: (
            error(403, "AccessDenied") if "attributes" in seen.query else None
        )
    entries, problems = climb()
    assert all(one.digests["sha256-composite"] == whole.hex() for one in entries.values())
    assert [(one.code, one.severity) for one in problems] == [("parts-unknown", "note")]
    assert "s3:GetObjectAttributes" in str(problems[0].hint)


def single_part(server: FaultServer, *, count: str = "1", told: bytes = DATA) -> None:
    composed = sha256(sha256(DATA))
    server.put(
        "p/x",
        DATA,
        headers=checksum("sha256", "COMPOSITE", b64(composed) + "-1"),
        listing=listing("SHA256", "COMPOSITE"),
    )

    def head(seen: Seen) -> Reply | None:
        if seen.query.get("partNumber") != "1":
            return None
        return Reply(
            206,
            {
                "ETag": f'"{server.objects["p/x"].etag}"',
                "x-amz-mp-parts-count": count,
                **checksum("sha256", "COMPOSITE", b64(sha256(told))),
                "Content-Length": str(len(DATA)),
            },
        )

    server.replies["HEAD", "p/x"] = head


def test_one_part_is_the_whole_object_and_its_checksum_is_a_sha256(server: FaultServer) -> None:
    single_part(server)
    entry = climb()[0]["x"]
    assert entry.digests["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert entry.evidence["sha256"] == "stored"
    assert server.sent == 0


@pytest.mark.parametrize(
    "wrong", [{"count": "2"}, {"count": ""}, {"told": b"another"}], ids=["two", "no count", "lie"]
)
def test_one_part_is_believed_only_if_it_gives_the_composite(
    server: FaultServer, wrong: dict[str, Any]
) -> None:
    single_part(server, **wrong)
    assert "sha256" not in climb()[0]["x"].digests


def test_a_crc_is_recorded_under_its_own_name(server: FaultServer) -> None:
    crc = zlib.crc32(DATA).to_bytes(4, "big")
    server.put(
        "p/x",
        DATA,
        headers=checksum("crc32", "FULL_OBJECT", b64(crc)),
        listing=listing("CRC32", "FULL_OBJECT"),
    )
    entry = climb()[0]["x"]
    assert entry.digests == {"crc32": crc.hex()}


def test_small_objects_with_weak_checksums_are_not_asked_for_unless_nothing_is_read(
    server: FaultServer,
) -> None:
    crc = b64(zlib.crc32(b"tiny").to_bytes(4, "big"))
    server.put(
        "p/x",
        b"tiny",
        headers=checksum("crc32", "FULL_OBJECT", crc),
        listing=listing("CRC32", "FULL_OBJECT"),
    )
    assert climb()[0]["x"].digests == {}
    assert server.count("HEAD") == 0
    assert climb(read="none")[0]["x"].digests
    assert climb(heads="always")[0]["x"].digests
    assert climb(heads="never", read="none")[0]["x"].digests == {}


def test_algorithms_of_tomorrow_are_kept_as_hints(server: FaultServer) -> None:
    server.put(
        "p/x",
        DATA,
        headers=checksum("blake9", "FULL_OBJECT", b64(b"abc")),
        listing=listing("BLAKE9", "FULL_OBJECT"),
    )
    entry = climb()[0]["x"]
    assert entry.digests == {}
    assert entry.hints["otherChecksums"] == {"blake9": b"abc".hex()}


def test_a_value_of_the_wrong_length_is_no_digest(server: FaultServer) -> None:
    server.put(
        "p/x",
        DATA,
        headers=checksum("crc64nvme", "FULL_OBJECT", b64(b"four")),
        listing=listing("CRC64NVME", "FULL_OBJECT"),
    )
    entry = climb()[0]["x"]
    assert entry.digests == {}
    assert entry.hints["oddChecksums"] == {"crc64nvme": b64(b"four")}


def test_a_checksum_without_a_type_is_not_claimed(server: FaultServer) -> None:
    server.put(
        "p/x",
        DATA,
        headers={"x-amz-checksum-sha256": b64(sha256(DATA))},
        listing="<ChecksumAlgorithm>SHA256</ChecksumAlgorithm>",
    )
    assert climb()[0]["x"].digests == {}


def test_listings_without_checksums_cost_four_heads_and_no_more(server: FaultServer) -> None:
    for number in range(20):
        server.put(f"p/{number}", DATA)
    climb()
    assert server.count("HEAD") == 4


def test_a_server_that_lists_no_algorithms_but_has_checksums_is_asked_for_all(
    server: FaultServer,
) -> None:
    for number in range(20):
        data = b"%d" % number
        server.put(
            f"p/{number}", data, headers=checksum("sha256", "FULL_OBJECT", b64(sha256(data)))
        )
    entries, _ = climb()
    assert all("sha256" in one.digests for one in entries.values())
    assert server.count("HEAD") == 20


def test_old_objects_beside_new_ones_are_not_asked_for(server: FaultServer) -> None:
    server.put(
        "p/a",
        DATA,
        headers=checksum("sha256", "FULL_OBJECT", b64(sha256(DATA))),
        listing=listing("SHA256", "FULL_OBJECT"),
    )
    for number in range(20):
        server.put(f"p/old{number}", DATA)
    climb()
    assert server.count("HEAD") == 1


def test_an_object_replaced_between_list_and_head_is_a_problem(server: FaultServer) -> None:
    server.put("p/x", DATA, listing=listing("SHA256", "FULL_OBJECT"))
    other = checksum("sha256", "FULL_OBJECT", b64(sha256(b"other")))
    server.replies["HEAD", "p/x"] = lambda _: Reply(200, {"ETag": '"other"', **other})
    entry = climb()[0]["x"]
    assert entry.problem is not None
    assert entry.problem.code == "changed-while-reading"
    assert entry.digests == {}


def test_an_object_deleted_between_list_and_head_is_a_problem(server: FaultServer) -> None:
    server.put("p/x", DATA, listing=listing("SHA256", "FULL_OBJECT"))
    server.replies["HEAD", "p/x"] = lambda _: Reply(404)
    entry = climb()[0]["x"]
    assert entry.problem is not None
    assert entry.problem.path == "x"


def test_a_key_that_may_not_be_used_lowers_the_evidence_and_is_said_once(
    server: FaultServer,
) -> None:
    for name in ("p/a", "p/b"):
        server.put(name, DATA, listing=listing("SHA256", "FULL_OBJECT"))
        server.replies["HEAD", name] = lambda seen: (
            Reply(403) if "x-amz-checksum-mode" in seen.headers else None
        )
    entries, problems = climb()
    assert all(one.digests == {} and one.problem is None for one in entries.values())
    assert [(one.code, one.severity) for one in problems] == [("kms-denied", "note")]
    assert "2 objects" in problems[0].what


def test_where_head_is_denied_it_is_not_tried_for_every_object(server: FaultServer) -> None:
    for number in range(200):
        name = f"p/{number}"
        server.put(name, b"1", listing=listing("SHA256", "FULL_OBJECT"))
        server.replies["HEAD", name] = lambda _: Reply(403)
    entries, problems = climb()
    assert len(entries) == 200
    assert [one.code for one in problems] == ["head-denied"]
    assert server.count("HEAD") < 200


def test_an_encrypted_object_keeps_an_opaque_entity_tag(server: FaultServer) -> None:
    server.put("p/x", DATA, headers={"x-amz-server-side-encryption": "aws:kms"})
    assert climb(heads="always", etagIsMd5=True)[0]["x"].digests == {}


def test_an_entity_tag_is_an_md5_only_on_servers_known_for_it(server: FaultServer) -> None:
    server.put("p/x", DATA)
    assert climb(heads="always")[0]["x"].digests == {}
    found = climb(heads="always", etagIsMd5=True)[0]["x"]
    assert found.digests == {"md5": hashlib.md5(DATA).hexdigest()}


@pytest.mark.parametrize(("told", "size"), [("3", PART), ("1", None), ("", None)])
def test_the_part_size_behind_a_multipart_tag_is_known_if_the_server_knows_parts(
    server: FaultServer, told: str, size: int | None
) -> None:
    server.put("p/x", DATA, etag="a" * 32 + "-3")

    def head(seen: Seen) -> Reply | None:
        if "partNumber" not in seen.query:
            return None
        headers = {"ETag": f'"{"a" * 32}-3"', "x-amz-mp-parts-count": told}
        return Reply(206, headers | {"Content-Length": str(PART)})

    server.replies["HEAD", "p/x"] = head
    entry = climb(heads="always", etagIsMd5=True)[0]["x"]
    assert entry.digests == {"md5-composite": "a" * 32}
    assert entry.hints["composite"].get("partSize") == size


def test_archived_objects_keep_their_evidence(server: FaultServer) -> None:
    server.put(
        "p/x",
        DATA,
        headers=checksum("sha256", "FULL_OBJECT", b64(sha256(DATA))),
        listing=listing("SHA256", "FULL_OBJECT", "DEEP_ARCHIVE"),
    )
    entry = climb()[0]["x"]
    assert entry.hints["storageClass"] == "DEEP_ARCHIVE"
    assert entry.evidence["sha256"] == "stored"
    assert entry.problem is None


def test_version_ids_absent_and_null_are_two_things(server: FaultServer) -> None:
    server.put("p/x", b"1")
    assert "versionId" not in climb()[0]["x"].identity
    server.versioning = "Suspended"
    assert climb()[0]["x"].identity["versionId"] == "null"


def test_entries_come_in_listing_order_although_heads_run_side_by_side(
    server: FaultServer,
) -> None:
    for number in range(150):
        data = b"%d" % number
        server.put(
            f"p/{number:03}",
            data,
            headers=checksum("sha256", "FULL_OBJECT", b64(sha256(data))),
            listing=listing("SHA256", "FULL_OBJECT"),
        )
    entries, _ = climb()
    assert list(entries) == sorted(entries)
    for number in range(150):
        assert entries[f"{number:03}"].digests["sha256"] == sha256(b"%d" % number).hex()


def test_headers_are_read_by_type_and_never_by_suffix() -> None:
    value = b64(sha256(b"x"))
    by_type = checksums_of({"x-amz-checksum-sha256": value, "x-amz-checksum-type": "COMPOSITE"})
    assert by_type.kind == "COMPOSITE"
    assert best_composite(by_type) is None  # without a part count nothing is asked
    suffixed = checksums_of({"x-amz-checksum-sha256": value + "-2"})
    assert suffixed.kind is None
    assert suffixed.parts == {"sha256": 2}


def test_composites_follow_the_formula() -> None:
    digests = [hashlib.sha256(piece).hexdigest() for piece in PIECES]
    assert composite("sha256", digests) == sha256(bytes.fromhex("".join(digests))).hex()
    assert composite("crc32", ["00000001", "00000002"]) == (
        f"{zlib.crc32(bytes.fromhex('0000000100000002')):08x}"
    )
    assert composite("xxhash3", ["00"]) is None


def test_part_lists_that_make_no_sense_are_refused() -> None:
    good = {"PartNumber": 1, "Size": 5, "ChecksumSHA256": b64(sha256(b"x"))}
    assert parts_of({"Parts": [good]}) is not None
    refused: list[dict[str, Any]] = [
        {},
        {"Parts": []},
        {"Parts": [{**good, "PartNumber": 2}]},
        {"Parts": [good, good]},
        {"Parts": [{**good, "Size": -1}]},
        {"Parts": [{**good, "Size": "5"}]},
        {"Parts": [good] * 10_001},
    ]
    for wrong in refused:
        assert parts_of(wrong) is None
    odd = parts_of({"Parts": [{**good, "ChecksumSHA256": "AAAA"}]})
    assert odd is not None
    assert odd.digests == {}


def test_layouts_and_tags_are_read_exactly() -> None:
    assert layout([5, 5, 3]) == {"count": 3, "partSize": 5}
    assert layout([5, 3, 5]) == {"count": 3, "partSizes": [5, 3, 5]}
    assert equal_parts(13, 5, 3)
    assert not equal_parts(15, 5, 4)
    assert not equal_parts(16, 5, 3)
    assert multipart_etag("a" * 32 + "-12") == ("a" * 32, 12)
    for tag in ("a" * 32, "a" * 32 + "-0", "a" * 32 + "-", "g" * 32 + "-1", "a" * 31 + "-1"):
        assert multipart_etag(tag) is None
    assert md5_etag("a" * 32, None, trusted=True) == "a" * 32
    assert md5_etag("a" * 32, "aws:kms", trusted=True) is None
    assert md5_etag("a" * 32, None, trusted=False) is None
