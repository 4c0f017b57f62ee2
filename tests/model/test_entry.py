"""Files join content and observation; evidence is ordered; roles go by name alone."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from manifestd.model.digest import EMPTY_SHA256
from manifestd.model.entry import File, Observation
from manifestd.model.evidence import GRADES, at_least, weaker
from manifestd.model.files import FileList, listed
from manifestd.model.role import role_of
from tests.support.schemas import check_document

SEEN = Observation(
    role="config",
    digests={"sha1-git": "0" * 40},
    evidence={"sha256": "measured", "sha1-git": "declared"},
    identity={"etag": '"x"'},
)


def test_the_weaker_of_two_grades_is_one_of_them_whatever_their_order() -> None:
    for strong, weak in itertools.combinations(GRADES, 2):
        assert weaker(strong, weak) == weaker(weak, strong) == weak
        assert at_least(strong, weak)
        assert not at_least(weak, strong)
    assert all(at_least(grade, grade) for grade in GRADES)


def test_a_file_knows_all_its_digests_and_the_grade_of_its_sha256() -> None:
    file = File(path="a", size=0, sha256=EMPTY_SHA256, seen=SEEN)
    assert file.digests() == {"sha1-git": "0" * 40, "sha256": EMPTY_SHA256}
    assert file.grade() == "measured"


def test_a_file_of_unknown_sha256_has_grade_none() -> None:
    file = File(path="a", size=0, sha256=None, seen=SEEN)
    assert file.digests() == {"sha1-git": "0" * 40}
    assert file.grade() == "none"


def test_a_listed_file_grades_each_digest_it_shows() -> None:
    shown = listed(File(path="a", size=0, sha256=EMPTY_SHA256, seen=SEEN))
    assert shown.digests.keys() == shown.evidence.keys()
    assert shown.evidence == {"sha256": "measured", "sha1-git": "declared"}
    unknown = listed(File(path="b", size=1, sha256=None, seen=SEEN))
    assert unknown.evidence == {"sha1-git": "declared"}
    document = FileList(snapshot="sha256:" + "0" * 64, files=[shown, unknown])
    check_document("files", msgspec.json.encode(document))


def test_a_digest_without_a_grade_shows_as_none() -> None:
    bare = Observation(digests={"md5": "0" * 32})
    assert listed(File(path="a", size=0, sha256=None, seen=bare)).evidence == {"md5": "none"}


def test_an_observation_writes_only_what_it_knows() -> None:
    assert msgspec.json.encode(Observation()) == b"{}"


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("model-00001-of-00002.safetensors", "weights"),
        ("model.safetensors.index.json", "weights"),
        ("onnx/model.onnx", "weights"),
        ("pytorch_model.bin", "weights"),
        ("sub/config.json", "config"),
        ("tokenizer.json", "tokenizer"),
        ("vocab.txt", "tokenizer"),
        ("chat_template.jinja", "template"),
        ("chat_template.json", "template"),
        ("README.md", "card"),
        ("LICENSE", "license"),
        ("license.txt", "license"),
        ("USE_POLICY.md", "license"),
        ("modeling_x.py", "code"),
        ("data/train.parquet", "data"),
        (".gitattributes", "other"),
        ("README", "other"),
        ("", "other"),
        ("dir.py/x", "other"),
    ],
)
def test_a_role_goes_by_the_name_of_the_file(path: str, role: str) -> None:
    assert role_of(path) == role
    assert role_of(path.upper()) == role_of(path.lower())
