"""References say one place, print back to themselves, and refuse what could be read two ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifestd.errors import UsageError
from manifestd.model.reference import (
    DirectoryReference,
    HubReference,
    OciReference,
    S3Reference,
    parse_directory,
    parse_hub,
    parse_reference,
)

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "expected", "place"),
    [
        ("hf://gpt2", HubReference(repo_id="gpt2"), "hf://gpt2"),
        ("hf://org/name", HubReference(repo_id="org/name"), "hf://org/name"),
        ("hf://org/name@main", HubReference(repo_id="org/name", revision="main"), "hf://org/name"),
        ("hf://org/name@refs/pr/1", HubReference(repo_id="org/name", revision="refs/pr/1"),
         "hf://org/name"),
        ("hf://datasets/org/name@v1",
         HubReference(repo_id="org/name", repo_type="dataset", revision="v1"),
         "hf://datasets/org/name"),
        ("hf://spaces/org/name", HubReference(repo_id="org/name", repo_type="space"),
         "hf://spaces/org/name"),
        ("hf-cache://org/name@main",
         HubReference(repo_id="org/name", revision="main", scheme="hf-cache"),
         "hf-cache://org/name"),
        ("s3://bucket", S3Reference(bucket="bucket"), "s3://bucket/"),
        ("s3://bucket/a/b/", S3Reference(bucket="bucket", prefix="a/b/"), "s3://bucket/a/b/"),
        ("s3://bucket/a/b", S3Reference(bucket="bucket", prefix="a/b/"), "s3://bucket/a/b/"),
        ("s3://bucket//a%20b?x#y/", S3Reference(bucket="bucket", prefix="/a%20b?x#y/"),
         "s3://bucket//a%20b?x#y/"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/name/models/",
         S3Reference(bucket="arn:aws:s3:eu-west-1:123456789012:accesspoint/name",
                     prefix="models/"),
         "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/name/models/"),
        ("oci://host/repo", OciReference(host="host", repository="repo"), "oci://host/repo"),
        ("oci://localhost:5000/a/b:v1",
         OciReference(host="localhost:5000", repository="a/b", tag="v1"),
         "oci://localhost:5000/a/b"),
        (f"oci://host/repo@{DIGEST}",
         OciReference(host="host", repository="repo", digest=DIGEST), "oci://host/repo"),
        ("file:///a%20b/c", DirectoryReference(path="/a b/c"), "file:///a b/c"),
        ("/abs/path", DirectoryReference(path="/abs/path"), "file:///abs/path"),
    ],
)  # fmt: skip
def test_a_reference_names_its_place(text: str, expected: object, place: str) -> None:
    found = parse_reference(text)
    assert found == expected
    assert found.place() == place


@pytest.mark.parametrize(
    "text",
    ["hf://org/name@main", "hf://datasets/org/name", "s3://bucket/a/b/", "oci://host/repo:v1",
     f"oci://host/repo@{DIGEST}", "hf-cache://org/name"],
)  # fmt: skip
def test_a_reference_prints_back_to_itself(text: str) -> None:
    assert str(parse_reference(text)) == text


def test_a_bare_name_is_a_hub_repository_where_one_is_asked_for() -> None:
    assert parse_hub("org/name@v1") == parse_reference("hf://org/name@v1")
    assert parse_hub("datasets/name") == HubReference(repo_id="datasets/name")


def test_a_path_is_kept_absolute_and_its_odd_characters_literal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_reference("model@v1:x") == DirectoryReference(path=str(tmp_path / "model@v1:x"))


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf:///name", "hf://a/b/c", "hf://a/../b", "hf://a--b/c", "hf://-a/b", "hf://org/na me",
     "hf://org/name@", "hf://org/name@a b", "hf://org/name@a\nb", "hf://org/" + "n" * 97,
     "hf://org/name@" + "r" * 256, "s3://", "s3:///prefix", "s3://-bucket/x",
     "s3://bucket/" + "k" * 1025, "oci://host", "oci:///repo", "oci://host/REPO",
     "oci://host/a:b:c d", "oci://host/repo@sha256:short", f"oci://host/repo@{DIGEST.upper()}",
     "file://host/path", "gs://bucket/x", "https://huggingface.co/org/name"],
)  # fmt: skip
def test_what_is_no_reference_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


def test_an_unknown_kind_of_reference_says_which_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference("gs://bucket/x")
    assert caught.value.hint is not None
    assert "s3://" in caught.value.hint


@pytest.mark.parametrize(
    ("page", "meant"),
    [
        ("https://huggingface.co/org/name", "hf://org/name"),
        ("https://huggingface.co/gpt2/", "hf://gpt2"),
        ("http://hf.co/org/name/tree/refs%2Fpr%2F1", "hf://org/name@refs/pr/1"),
        ("https://huggingface.co/org/name/blob/main/onnx/config.json?x=1#L1", "hf://org/name@main"),
        ("https://huggingface.co/datasets/org/name", "hf://datasets/org/name"),
        ("https://www.huggingface.co/spaces/org/name/tree/v1", "hf://spaces/org/name@v1"),
        ("https://example.com/org/name", None),
        ("https://huggingface.co/", None),
        ("https://huggingface.co/a/b c", None),
    ],
)
def test_the_address_of_a_page_of_the_hub_is_told_as_its_reference(
    page: str, meant: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(page)
    expected = "known are hf://" if meant is None else f"write {meant}"
    assert (caught.value.hint or "").startswith(expected)
    assert meant is None or str(parse_reference(meant)) == meant


def test_a_directory_has_one_place_however_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    for spelling in ("model", "real/../model", "./real/deep/../../model", "link/../../model/"):
        assert parse_directory(f"{tmp_path}/{spelling}").place() == f"file://{tmp_path}/model"
    assert parse_directory(f"{tmp_path}/link").place() == f"file://{tmp_path}/link"
    assert parse_directory(f"{tmp_path}/link/../x").place() == f"file://{tmp_path}/real/x"
