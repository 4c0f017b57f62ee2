"""Listings that no place should give: each ends in a record that can be held, or in one clear error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.desk import Desk
from tests.support.s3_faults import FaultServer, Reply, Seen
from tests.support.schemas import check_document

Answers = Callable[[Seen], Reply | None]
TOO_MUCH = (2**53, 10**30, -1)


def objects(*sizes: Any, tail: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    """A listing of objects ``p/0``, ``p/1`` … that says that they have these sizes."""
    items = "".join(
        f"<Contents><Key>p/{number}</Key><Size>{size}</Size><ETag>e</ETag></Contents>"
        for number, size in enumerate(sizes)
    )
    return f"<ListBucketResult>{items}{tail}</ListBucketResult>".encode()


def listing(*bodies: bytes) -> Answers:
    """Answers listings with these bodies, the last again and again, and nothing else."""
    left = list(bodies)

    def answer(seen: Seen) -> Reply | None:
        if "list-type" not in seen.query:
            return None
        return Reply(body=left.pop(0) if len(left) > 1 else left[0])

    return answer


@pytest.mark.parametrize("size", TOO_MUCH)
def test_a_size_that_no_record_can_hold_is_that_files_problem(
    desk: Desk, faulty_s3: FaultServer, size: int
) -> None:
    faulty_s3.replies["GET", ""] = listing(objects(3, size))
    options = ("--read", "none", "--s3-option", "heads=never", "--format", "json")
    taken = desk("snapshot", "s3", "s3://bucket/p/", *options, code=3).document
    check_document("snapshot-result", desk.json("show", taken["snapshot"]) and taken)
    assert (taken["files"], taken["bytes"], taken["manifest"]) == (2, 3, None)
    (problem,) = [problem for problem in taken["problems"] if problem["path"] == "1"]
    assert (problem["code"], str(size) in problem["what"]) == ("unreadable", True)
    assert desk("store", "check").code == 0
    diff = desk.json("diff", taken["snapshot"], taken["snapshot"], code=3)
    assert "no size is known" in diff["files"][-1]["reason"]


def test_sizes_whose_sum_no_record_can_hold_are_the_later_files_problem(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    faulty_s3.replies["GET", ""] = listing(objects(2**52, 2**52, 5))
    options = ("--read", "none", "--s3-option", "heads=never", "--format", "json")
    taken = desk("snapshot", "s3", "s3://bucket/p/", *options, code=3).document
    assert taken["bytes"] == 2**52 + 5
    assert [p["path"] for p in taken["problems"] if p["code"] == "unreadable"] == ["1"]


@pytest.mark.parametrize(
    "bodies",
    {
        "a size in words": (objects("many"),),
        "no size": (objects(1).replace(b"<Size>1</Size>", b""),),
        "no key": (objects(1).replace(b"<Key>p/0</Key>", b""),),
        "no time": (objects(1).replace(b"<ETag>", b"<LastModified>soon</LastModified><ETag>"),),
        "a key twice": (objects(1).replace(b"</ListBucketResult>", b"") + objects(1)[18:],),
        "a log-in page": (b"<html><body>Who are you?</body></html>",),
        "nothing": (b"",),
        "pages in a circle": tuple(
            objects(
                tail="<IsTruncated>true</IsTruncated>"
                f"<NextContinuationToken>{token}</NextContinuationToken>"
            )
            for token in "abab"
        ),
    }.values(),
    ids=lambda bodies: bodies[0][:40].decode(),
)
def test_what_is_no_listing_cannot_be_decided_and_is_no_defect(
    desk: Desk, faulty_s3: FaultServer, bodies: tuple[bytes, ...]
) -> None:
    faulty_s3.replies["GET", ""] = listing(*bodies)
    found = desk.json("snapshot", "s3", "s3://bucket/p/", code=3)
    check_document("error", found)
    assert found["code"] == "source-unreachable"
    assert found["hint"]


def test_a_service_that_has_no_such_method_is_not_taken_for_a_missing_bucket(
    desk: Desk, faulty_s3: FaultServer
) -> None:
    faulty_s3.replies["GET", ""] = lambda _: Reply(405)
    found = desk.json("snapshot", "s3", "s3://bucket/p/", code=3)
    assert found["code"] == "unreadable"
    assert "AWS_ENDPOINT_URL_S3" in found["hint"]


def test_one_directory_marker_is_told_of_as_one(desk: Desk, faulty_s3: FaultServer) -> None:
    faulty_s3.put("p/sub/", b"")
    faulty_s3.put("p/a.txt", b"a")
    (note,) = desk.json("snapshot", "s3", "s3://bucket/p/")["problems"]
    assert note["what"].startswith("1 directory marker left out: ")
