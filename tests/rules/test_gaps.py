"""The cheapest way to close a gap: which side to read, and in whose parts."""

from __future__ import annotations

from manifestd.model.entry import Problem
from manifestd.rules.compare import About, judge
from tests.rules.test_judge import BIG, ONE, uploaded
from tests.rules.trees import file_of


def test_a_missing_sha256_is_no_reason_beside_what_the_digests_say() -> None:
    left, right = file_of("a", ONE), file_of("a", ONE, known={"md5": "stored"})
    said = Problem(path="a", code="no-sha256", what="no sha256", hint="something general")
    about = About(place="file:///m"), About(place="s3://b/", problem=said)
    found = judge("a", left, right, about_left=about[0], about_right=about[1])
    assert "something general" not in (found.hint or "")
    assert "no sha256" not in (found.reason or "")


def test_a_directory_is_read_for_the_parts_of_an_upload_rather_than_the_upload() -> None:
    about = About(place="file:///m"), About(place="s3://b/p/")
    found = judge("m", file_of("m", BIG), uploaded(BIG),
                  about_left=about[0], about_right=about[1])  # fmt: skip
    assert found.hint == (
        "run `manifestd snapshot dir file:///m --read missing --evidence-for s3://b/p/`, "
        "which reads nothing of s3://b/p/, then compare again"
    )


def test_a_directory_is_read_for_the_sha512_of_an_object() -> None:
    about = About(place="file:///m"), About(place="s3://b/p/")
    found = judge("m", file_of("m", BIG), file_of("m", BIG, known={"sha512": "stored"}),
                  about_left=about[0], about_right=about[1])  # fmt: skip
    assert "dir file:///m --read missing --evidence-for s3://b/p/`" in (found.hint or "")


def test_an_archived_object_is_hashed_at_rest_and_nobody_is_told_to_read_it() -> None:
    frozen = file_of("m", BIG, known={"crc64nvme": "stored"}, hints={"storageClass": "GLACIER"})
    about = About(place="hf://org/m"), About(place="s3://b/p/")
    found = judge("m", file_of("m", BIG), frozen, about_left=about[0], about_right=about[1])
    assert (found.hint or "").startswith("let S3 compute the checksum of the archived object")
    assert "--read" not in (found.hint or "")


def test_of_two_uploads_cut_differently_one_is_read_in_the_parts_of_the_other() -> None:
    about = About(place="s3://a/"), About(place="s3://b/")
    found = judge("m", uploaded(BIG), uploaded(BIG, 8192),
                  about_left=about[0], about_right=about[1])  # fmt: skip
    assert found.hint == (
        "run `manifestd snapshot s3 s3://a/ --read missing --evidence-for s3://b/`, "
        "which reads nothing of s3://b/, then compare again"
    )


def test_a_download_is_not_paid_for_where_the_upload_can_be_read_as_well() -> None:
    about = About(place="hf://org/m"), About(place="s3://b/p/")
    found = judge("m", file_of("m", BIG, known={"sha256": "declared"}), uploaded(BIG),
                  about_left=about[0], about_right=about[1])  # fmt: skip
    assert (found.hint or "").startswith("run `manifestd snapshot s3 s3://b/p/ --read missing`")
