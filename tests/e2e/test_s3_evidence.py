"""A Hub repository against its mirror in S3: what is proved, by what, and what it costs."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import tiny_model
from tests.e2e.desk import Desk
from tests.e2e.world import World, put_claimed, put_parts, put_whole
from tests.support.s3_faults import FaultServer

NAME = "acme/tiny"
HUB = f"hf://{NAME}"
MIRROR = "s3://bucket/p/"
FILES = tiny_model(NAME)
WEIGHTS = "model.safetensors"
HEADER = 8 + struct.unpack("<Q", FILES[WEIGHTS][:8])[0]
BIG = hashlib.shake_128(b"big").digest(300_000)
PART = 128 * 1024


@pytest.fixture
def world(desk: Desk, hub: LoopbackHub, faulty_s3: FaultServer) -> World:
    return World(desk, hub, faulty_s3)


def file(document: Any, path: str) -> Any:
    return next(one for one in document["files"] if one["path"] == path)


class TestFullObjectSha256:
    def test_a_mirror_with_checksums_is_identical_and_no_byte_of_it_is_read(
        self, world: World
    ) -> None:
        world.hub.add_repo(NAME, FILES)
        for path, data in FILES.items():
            put_whole(world.s3, f"p/{path}", data)
        hub = world.snapshot("hf", NAME, "--read", "none", code=3)
        mirror = world.snapshot("s3", MIRROR, "--read", "none")
        # Of the Hub's small files a listing has the git blob id alone.
        assert hub["evidence"]["declared"] == 1
        assert mirror["evidence"] == {
            "measured": 0, "reused": 0, "stored": len(FILES), "declared": 0, "none": 0,
        }  # fmt: skip
        assert (hub["bytesRead"], mirror["bytesRead"]) == (0, 0)
        assert (world.hub.content_bytes(), world.s3.sent) == (0, 0)
        code, found = world.diff(HUB, MIRROR)
        weights = file(found, WEIGHTS)
        assert weights["verdict"] == "identical"
        assert weights["basis"] == {"algorithm": "sha256", "left": "declared", "right": "stored"}
        assert code == 3

    def test_with_the_small_files_read_the_model_is_identical_and_no_tensor_is_read(
        self, world: World
    ) -> None:
        world.hub.add_repo(NAME, FILES)
        for path, data in FILES.items():
            put_whole(world.s3, f"p/{path}", data)
        hub = world.snapshot("hf", NAME)
        mirror = world.snapshot("s3", MIRROR)
        assert hub["manifest"] == mirror["manifest"]
        code, found = world.diff(HUB, MIRROR)
        assert (code, found["verdict"]) == (0, "identical")
        small = sum(len(data) for path, data in FILES.items() if path != WEIGHTS)
        # Of the weights exactly the header, for the list of tensors.
        assert world.hub.content_bytes(WEIGHTS) == HEADER < len(FILES[WEIGHTS])
        assert world.hub.content_bytes() == small + HEADER == hub["bytesRead"]
        assert world.s3.sent == small + HEADER == mirror["bytesRead"]

    def test_a_flipped_bit_under_a_fresh_checksum_is_different_without_reading(
        self, world: World
    ) -> None:
        world.hub.add_repo(NAME, FILES)
        for path, data in FILES.items():
            put_whole(world.s3, f"p/{path}", data)
        put_whole(world.s3, f"p/{WEIGHTS}", FILES[WEIGHTS][:-1] + b"!")
        world.snapshot("hf", NAME)
        world.snapshot("s3", MIRROR, "--read", "none")
        code, found = world.diff(HUB, MIRROR)
        assert (code, file(found, WEIGHTS)["verdict"]) == (1, "different")


def put(world: World, kind: str, key: str, data: bytes) -> None:
    """Store an object the way one kind of uploader leaves it."""
    match kind:
        case "sha256 in parts":
            put_parts(world.s3, key, data, PART)
        case "crc32 in parts":
            put_parts(world.s3, key, data, PART, "CRC32")
        case "crc64nvme":
            put_whole(world.s3, key, data, "CRC64NVME")
        case "etag":
            world.s3.put(key, data)
        case "kms":
            opaque = hashlib.md5(b"key" + data).hexdigest()
            headers = {"x-amz-server-side-encryption": "aws:kms"}
            world.s3.put(key, data, etag=opaque, headers=headers)
        case "etag in parts":
            pieces = [data[start : start + PART] for start in range(0, len(data), PART)]
            joined = b"".join(hashlib.md5(piece).digest() for piece in pieces)
            world.s3.put(key, data, etag=f"{hashlib.md5(joined).hexdigest()}-{len(pieces)}")


KINDS = ["sha256 in parts", "crc32 in parts", "crc64nvme", "etag", "kms", "etag in parts"]


class TestWeakEvidence:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("changed", [False, True])
    def test_no_upload_without_a_sha256_is_identical_to_the_hub_unread(
        self, world: World, kind: str, changed: bool
    ) -> None:
        world.hub.add_repo(NAME, {"big.bin": BIG}, lfs={"big.bin"})
        put(world, kind, "p/big.bin", BIG[:-1] + b"!" if changed else BIG)
        world.snapshot("hf", NAME)
        taken = world.snapshot("s3", MIRROR, "--read", "none", code=3)
        assert (taken["manifest"], world.s3.sent) == (None, 0)
        code, found = world.diff(HUB, MIRROR)
        big = file(found, "big.bin")
        assert (code, found["verdict"], big["verdict"]) == (3, "unverifiable", "unverifiable")
        assert big["hint"] == (
            "run `manifestd snapshot s3 s3://bucket/p/ --read missing` "
            "(or let S3 compute it, without reading: --explain), then compare again"
        )
        # The command does what the hint says it does.
        world.snapshot("s3", MIRROR, "--read", "missing")
        code, found = world.diff(HUB, MIRROR)
        assert (code, found["verdict"]) == ((1, "different") if changed else (0, "identical"))

    @pytest.mark.parametrize("kind", ["sha256 in parts", "crc32 in parts", "crc64nvme"])
    def test_two_uploads_of_one_kind_differ_when_their_checksums_do(
        self, world: World, kind: str
    ) -> None:
        put(world, kind, "p/big.bin", BIG)
        put(world, kind, "q/big.bin", BIG[:-1] + b"!")
        for place in ("s3://bucket/p/", "s3://bucket/q/"):
            world.snapshot("s3", place, "--read", "none", code=3)
        code, found = world.diff("s3://bucket/p/", "s3://bucket/q/")
        assert (code, found["verdict"]) == (1, "different")
        assert world.s3.sent == 0

    @pytest.mark.parametrize("kind", [*KINDS, "sha512"])
    def test_two_equal_uploads_are_identical_only_under_a_digest(
        self, world: World, kind: str
    ) -> None:
        for prefix in ("p", "q"):
            if kind == "sha512":
                value = hashlib.sha512(BIG).digest()
                put_claimed(world.s3, f"{prefix}/big.bin", BIG, "SHA512", value)
            else:
                put(world, kind, f"{prefix}/big.bin", BIG)
            world.snapshot("s3", f"s3://bucket/{prefix}/", "--read", "none", code=3)
        code, found = world.diff("s3://bucket/p/", "s3://bucket/q/")
        strong = kind in {"sha256 in parts", "sha512"}
        assert found["files"][0]["verdict"] == ("identical" if strong else "unverifiable")
        # Not even then: a side without a sha256 is not complete.
        assert world.s3.sent == 0
        assert code in ({0, 3} if strong else {3})


class TestCrossEvidence:
    def test_a_directory_read_in_the_parts_of_an_upload_decides_without_reading_the_upload(
        self, world: World
    ) -> None:
        world.desk.tree("model", {"big.bin": BIG})
        put(world, "sha256 in parts", "p/big.bin", BIG)
        world.snapshot("dir", "model")
        world.snapshot("s3", MIRROR, "--read", "none", code=3)
        _, found = world.diff("model", MIRROR)
        hint = file(found, "big.bin")["hint"]
        command = hint.partition("`")[2].partition("`")[0].split()
        assert command[:3] == ["manifestd", "snapshot", "dir"]
        assert command[-2:] == ["--evidence-for", MIRROR]
        assert world.desk(*command[1:]).code == 0
        code, found = world.diff("model", MIRROR)
        assert file(found, "big.bin")["verdict"] == "identical"
        assert file(found, "big.bin")["basis"] == {
            "algorithm": "sha256-composite", "left": "measured", "right": "stored",
        }  # fmt: skip
        assert world.s3.sent == 0
        again = world.desk.json(*command[1:])
        assert (again["bytesRead"], again["evidence"]["reused"]) == (0, 1)
        put(world, "sha256 in parts", "p/big.bin", BIG[:200_000] + b"!" + BIG[200_001:])
        world.snapshot("s3", MIRROR, "--read", "none", code=3)
        code, found = world.diff("model", MIRROR)
        big = file(found, "big.bin")
        assert (code, big["verdict"]) == (1, "different")
        assert [change["at"] for change in big["changes"]] == ["bytes 131072-262143"]
        assert world.s3.sent == 0

    def test_a_crc_that_only_the_other_side_has_is_computed_and_shows_the_difference(
        self, world: World
    ) -> None:
        world.hub.add_repo(NAME, {"big.bin": BIG}, lfs={"big.bin"})
        put(world, "crc64nvme", "p/big.bin", BIG[:-1] + b"!")
        world.snapshot("s3", MIRROR, "--read", "none", code=3)
        world.snapshot("hf", NAME)
        assert world.diff(HUB, MIRROR)[0] == 3
        world.snapshot("hf", NAME, "--evidence-for", MIRROR)
        code, found = world.diff(HUB, MIRROR)
        assert (code, file(found, "big.bin")["basis"]) == (
            1, {"algorithm": "crc64nvme", "left": "measured", "right": "stored"},
        )  # fmt: skip
        assert world.s3.sent == 0
        put(world, "crc64nvme", "p/big.bin", BIG)
        world.snapshot("s3", MIRROR, "--read", "none", code=3)
        code, found = world.diff(HUB, MIRROR)
        assert (code, file(found, "big.bin")["verdict"]) == (3, "unverifiable")
        assert file(found, "big.bin")["reason"] == (
            "only crc64nvme and the size agree, which does not prove equal bytes"
        )

    def test_a_git_blob_id_shows_a_difference_and_proves_no_equality(self, world: World) -> None:
        world.hub.add_repo(NAME, {"config.json": b"{}", "b.json": b"[1]"})
        world.desk.tree("model", {"config.json": b"{}", "b.json": b"[2]"})
        world.snapshot("hf", NAME, "--read", "none", code=3)
        world.snapshot("dir", "model")
        code, found = world.diff(HUB, "model")
        assert (code, file(found, "b.json")["basis"]["algorithm"]) == (1, "sha1-git")
        assert file(found, "config.json")["verdict"] == "unverifiable"
