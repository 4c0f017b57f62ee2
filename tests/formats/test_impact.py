from __future__ import annotations

import re
from pathlib import Path

import pytest

from manifestd.model.change import IMPACTS, Change, Impact, TensorDiff
from manifestd.model.entry import Role
from manifestd.model.role import role_of
from manifestd.rules.impact import RULES, assess, at_least, classify

DOCUMENT = Path(__file__).parents[2] / "docs/reference/impact.md"


@pytest.mark.parametrize(
    ("path", "at", "impact"),
    [
        ("config.json", "/torch_dtype", "behaviour"),
        ("config.json", "/text_config/torch_dtype", "behaviour"),
        ("config.json", "/rope_theta", "behaviour"),
        ("config.json", "/rope_scaling/factor", "behaviour"),
        ("config.json", "/vocab_size", "behaviour"),
        ("generation_config.json", "/eos_token_id", "behaviour"),
        ("config.json", "/quantization_config/bits", "behaviour"),
        ("config.json", "/auto_map", "security"),
        ("config.json", "/auto_map/AutoModel", "security"),
        ("tokenizer_config.json", "/auto_map/AutoTokenizer/0", "security"),
        ("config.json", "/trust_remote_code", "security"),
        ("modules.json", "/0/type", "security"),
        ("model_index.json", "/unet/0", "security"),
        ("model_index.json", "/_diffusers_version", "metadata"),
        ("config.json", "/transformers_version", "metadata"),
        ("config.json", "/_name_or_path", "metadata"),
        ("config.json", "/anything_else", "behaviour"),
        ("modeling_x.py", "line 3", "security"),
        ("chat_template.jinja", "line ends", "behaviour"),
        ("tokenizer_config.json", "/chat_template line 2", "behaviour"),
        ("tokenizer.json", "/model/merges", "behaviour"),
        ("vocab.txt", "line ends", "behaviour"),
        ("README.md", "line ends", "cosmetic"),
        ("README.md", "/license", "metadata"),
        ("README.md", "line 3", "metadata"),
        ("LICENSE", "line 3", "metadata"),
        ("LICENSE", "final newline", "cosmetic"),
        ("model.safetensors", "/__metadata__/format", "behaviour"),
        ("model.safetensors", "/__metadata__/note", "metadata"),
        ("model.safetensors", "h.0.weight", "behaviour"),
        ("m.gguf", "/general.name", "metadata"),
        ("m.gguf", "/general.file_type", "behaviour"),
        ("m.gguf", "/llama.rope.freq_base", "behaviour"),
        ("pytorch_model.bin", "pickle globals", "security"),
        ("x.pkl", "anything", "security"),
        ("model.safetensors.index.json", "/metadata/total_size", "metadata"),
        ("model.safetensors.index.json", "/weight_map", "behaviour"),
        (".gitattributes", "line 1", "metadata"),
    ],
)
def test_the_table_classes_a_change(path: str, at: str, impact: Impact) -> None:
    found, reason = classify(path, role_of(path), Change(at=at))
    assert found == impact
    assert reason


def test_a_file_is_as_grave_as_its_gravest_change_and_shows_it_first() -> None:
    changes = [Change(at="/transformers_version"), Change(at="/x"), Change(at="/auto_map")]
    found = assess("config.json", "config", "different", changes=changes)
    assert found.impact == "security"
    assert [change.impact for change in found.changes] == ["security", "behaviour", "metadata"]
    assert found.reason == found.changes[0].reason


def test_identical_equivalent_and_undecided_files_have_the_class_of_their_verdict() -> None:
    assert assess("a.py", "code", "identical").impact == "none"
    assert assess("a.py", "code", "unverifiable").impact == "none"
    assert assess("config.json", "config", "equivalent").impact == "cosmetic"


def test_new_code_is_security_and_gone_code_is_behaviour() -> None:
    assert assess("a.py", "code", "rightOnly").impact == "security"
    assert assess("a.py", "code", "leftOnly").impact == "behaviour"


def test_findings_raise_the_class() -> None:
    finding = {"impact": "security", "what": "loading this pickle imports os.system"}
    found = assess("m.bin", "weights", "different", findings=[finding])
    assert (found.impact, found.reason) == ("security", finding["what"])
    odd = assess("README.md", "card", "different", findings=[{"impact": "x"}, {}])
    assert odd.impact == "metadata"


def test_a_tensor_called_like_a_harmless_key_stays_a_tensor() -> None:
    from tests.formats.support import safetensors, told

    name = "/__metadata__/note"
    found = told(
        "m.safetensors",
        safetensors({name: ("U8", [1], b"a")}),
        safetensors({name: ("U8", [1], b"b")}),
    )
    assert classify("m.safetensors", "weights", found.changes[0])[0] == "behaviour"
    harmless = [Change(at="/__metadata__/note")]
    tensors = TensorDiff(changed=["w"])
    whole = assess("m.safetensors", "weights", "different", changes=harmless, tensors=tensors)
    assert whole.impact == "behaviour"
    same = assess("m.safetensors", "weights", "different", changes=harmless, tensors=TensorDiff())
    assert same.impact == "metadata"


@pytest.mark.parametrize("role", ["weights", "config", "tokenizer", "template", "code", "card",
                                  "license", "data", "other"])  # fmt: skip
def test_every_role_has_a_rule_for_the_file_as_a_whole(role: Role) -> None:
    impact, reason = classify("some.file", role, None)
    assert impact in IMPACTS
    assert reason


def test_classes_are_ordered() -> None:
    assert at_least("security", "behaviour")
    assert not at_least("cosmetic", "metadata")


def test_the_reference_page_prints_the_table() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \|.*$", page, re.MULTILINE)
    assert rows == [row(number, index) for number, index in enumerate(range(len(RULES)), start=1)]


def row(number: int, index: int) -> str:
    rule = RULES[index]
    roles = ", ".join(rule.roles) or "all"
    cells = [f"`{part}`".replace("|", "\\|") if part else "any" for part in (rule.path, rule.at)]
    return f"| {number} | {roles} | {cells[0]} | {cells[1]} | {rule.impact} | {rule.reason} |"
