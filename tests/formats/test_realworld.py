"""Readers on real files of public model repositories, held against the libraries of the formats."""

from __future__ import annotations

import pickletools
from pathlib import Path

import gguf
import pytest
import safetensors

from manifestd.formats import reader_for
from manifestd.formats.shardindex import check_shards
from tests.formats.support import explain, facts_of, told
from tests.support.realworld import realworld

pytestmark = pytest.mark.realdata


@pytest.fixture
def folder() -> Path:
    return realworld()


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


def test_the_safetensors_library_reads_the_same_tensors(folder: Path) -> None:
    paths = [*folder.glob("safetensors-samples/*"), *folder.glob("silero-vad/*.safetensors")]
    assert len(paths) > 10
    for path in paths:
        facts = facts_of(path.name, path.read_bytes())
        assert facts is not None
        with safetensors.safe_open(path, "np") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            expected = {
                name: (one.get_dtype(), list(one.get_shape())) for name, one in slices.items()
            }
        assert {t["name"]: (t["dtype"], t["shape"]) for t in facts["tensors"]} == expected


def test_the_gguf_library_reads_the_same_keys(folder: Path) -> None:
    for path in folder.glob("gguf/*.gguf"):
        facts = facts_of(path.name, path.read_bytes())
        assert facts is not None
        fields = gguf.GGUFReader(path).fields
        expected = {name for name in fields if not name.startswith("GGUF.")}
        assert {one["key"] for one in facts["kv"]} == expected
        assert facts["tensors"] == []


def test_pickletools_finds_the_same_globals_in_old_torch_files(folder: Path) -> None:
    for path in folder.rglob("*.pth"):
        facts = facts_of(path.name, path.read_bytes())
        assert facts is not None
        found = set()
        with path.open("rb") as file:
            for _ in range(4):
                found |= {
                    str(argument).replace(" ", ".")
                    for opcode, argument, _ in pickletools.genops(file)
                    if opcode.name == "GLOBAL"
                }
        assert set(facts["globals"]) == found


def test_every_real_card_is_read_or_refused_with_the_reason(folder: Path) -> None:
    cards = {
        path.name.removeprefix("sample_"): facts_of("README.md", path.read_bytes()) or {}
        for path in folder.glob("hf-cards/*.md")
    }
    refused = {name for name, facts in cards.items() if "refused" in facts}
    assert refused == {"template.md"}
    assert cards["windows_line_breaks.md"]["license"] == ["mit"]
    assert cards["no_metadata.md"] == {"format": "card/1"}
