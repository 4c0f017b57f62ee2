"""Real files of public model repositories, when the folder that holds them is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifestd.formats import reader_for
from manifestd.formats.shardindex import check_shards
from tests.formats.support import explain, facts_of, told


@pytest.fixture
def folder() -> Path:
    name = os.environ.get("MANIFESTD_REALWORLD")
    if not name:
        pytest.skip("MANIFESTD_REALWORLD names no folder with real files")
    return Path(name)


def test_every_real_file_is_read_or_refused_with_a_reason(folder: Path) -> None:
    read = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file() and reader_for(path.name, path.stat().st_size):
            data = path.read_bytes()
            facts = facts_of(path.name, data)
            read += 1
            assert "refused" not in (facts or {}) or facts["refused"]  # type: ignore[index]
            # White space behind JSON and padding behind GGUF mean nothing; elsewhere bytes count.
            found = explain(path.name, data, data + b"\n\n")
            assert found is None or not found.equivalent or path.suffix in {".json", ".gguf"}
    assert read > 60


def test_two_revisions_of_a_real_model_read_like_release_notes(folder: Path) -> None:
    old, new = (folder / "gpt-oss-20b" / revision for revision in ("f81fef1", "cbf31f6"))
    card = told("README.md", (old / "README.md").read_bytes(), (new / "README.md").read_bytes())
    assert [change.at for change in card.changes][:3] == ["/pipeline_tag", "/library_name", "/tags"]
    name = "chat_template.jinja"
    template = told(name, (old / name).read_bytes(), (new / name).read_bytes())
    assert not template.equivalent
    assert template.changes[0].at == "lines 87-88"


def test_the_odd_numbering_of_real_shards_is_found(folder: Path) -> None:
    root = folder / "gpt-oss-20b" / "cbf31f6"
    files = {path.name: path.read_bytes() for path in root.glob("model*")}
    facts = {path: facts_of(path, data) for path, data in files.items()}
    assert [one["rule"] for one in check_shards(files, facts)] == ["shard-numbering"]


def test_old_torch_files_import_only_the_usual_names(folder: Path) -> None:
    paths = list((folder / "lpips").rglob("*.pth"))
    assert paths
    for path in paths:
        facts = facts_of(path.name, path.read_bytes())
        assert facts is not None
        assert "before 1.6" in facts["refused"]
        assert "findings" not in facts
        assert "torch.FloatStorage" in facts["globals"]


def test_real_vocabularies_are_explained_in_tokens(folder: Path) -> None:
    vocab = (folder / "whisper-gpt2" / "vocab.json").read_bytes()
    found = told("vocab.json", vocab, vocab.rstrip().removesuffix(b"}") + b', "new token": 60000}')
    assert found.summary == "content: 1 token added, id 60000"
    assert told(
        "vocab.json", vocab, vocab.replace(b'", "', b'" , "').replace(b", ", b",\n")
    ).equivalent
