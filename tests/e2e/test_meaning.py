"""What changed, in the terms of the files: from the store, with both sources gone."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from manifestd.loopback.models import tiny_model
from tests.e2e.desk import Desk, verdicts
from tests.e2e.meaning import both, compared, dumped, file_of, shown

MODEL = tiny_model("acme/tiny")


def test_a_configuration_written_otherwise_passes_unless_strict(desk: Desk) -> None:
    config = json.loads(MODEL["config.json"])
    turned = dumped(dict(reversed(config.items())), indent=8)
    both(desk, MODEL, {**MODEL, "config.json": turned})
    document = compared(desk, code=0)
    assert verdicts(document) == {"config.json": "equivalent"}
    assert document["result"] == "pass"
    assert compared(desk, "--strict", code=1)["result"] == "fail"
    assert "equivalent" in shown(desk)


BPE = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b", "b a"]}
PAIRS: dict[str, tuple[bytes, bytes, str]] = {
    "integer-or-real/config.json": (b'{"a": 1}', b'{"a": 1.0}', "different"),
    "null-or-absent/config.json": (b'{"a": null}', b"{}", "different"),
    "merges/tokenizer.json": (
        dumped({"model": BPE}),
        dumped({"model": {**BPE, "merges": ["b a", "a b"]}}),
        "different",
    ),
    "nfc-nfd/config.json": (dumped({"a": "\u00e9"}), dumped({"a": "e\u0301"}), "different"),
    "crlf/chat_template.jinja": (b"{{ a }}\n{{ b }}\n", b"{{ a }}\r\n{{ b }}\r\n", "different"),
    "1e30/tokenizer_config.json": (
        b'{"model_max_length": 1000000000000000019884624838656}',
        b'{"model_max_length": 1000000000000000019884624838657}',
        "different",
    ),
    "beyond-2-53/config.json": (
        b'{"a": 9007199254740993}',
        b'{"a": 9007199254740992}',
        "different",
    ),
    "real-spelling/config.json": (b'{"a": 1e-05}', b'{"a": 0.00001}', "equivalent"),
    "duplicate-key/config.json": (b'{"a": 1, "a": 2}', b'{"a":1,"a":2}', "different"),
    "yaml-boolean/README.md": (
        b"---\nlanguage: no\n---\n",
        b"---\nlanguage: false\n---\n",
        "different",
    ),
    "card-comment/README.md": (
        b"---\nlicense: mit\n---\nText\n",
        b"---\n# ours\nlicense: mit\n---\nText\n",
        "equivalent",
    ),
}


def test_only_what_every_reader_reads_alike_is_equivalent(desk: Desk) -> None:
    both(
        desk,
        {path: left for path, (left, _, _) in PAIRS.items()},
        {path: right for path, (_, right, _) in PAIRS.items()},
    )
    document = compared(desk, code=1)
    assert verdicts(document) == {path: verdict for path, (_, _, verdict) in PAIRS.items()}
    long = file_of(document, "1e30/tokenizer_config.json")["changes"][0]
    assert long["left"] == "1000000000000000019884624838656"
    assert long["right"] == "1000000000000000019884624838657"
    text = shown(desk)
    assert "only the line ends differ: LF left, CRLF right" in text
    assert "the same 2 merges in another order" in text
    assert "number type changed: integer to real" in text
    assert "left not read as JSON: " in text


class Payload:
    """Unpickled, it would leave a file where the test looks."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "scaler.pkl"])
def test_a_pickle_with_os_system_is_a_security_finding_and_never_runs(
    desk: Desk, tmp_path: Path, name: str
) -> None:
    trace = tmp_path / "executed"
    payload = pickle.dumps({"weight": Payload(f"touch {trace}")})
    both(desk, {**MODEL, name: pickle.dumps({"weight": [1.0]})}, {**MODEL, name: payload})
    document = compared(desk, "--min-impact", "security", code=1)
    assert file_of(document, name)["impact"] == "security"
    [finding] = [one for one in document["findings"] if one.get("rule") == "pickle-global"]
    assert "system" in finding["what"]
    assert (finding["path"], finding["side"]) == (name, "right")
    text = shown(desk)
    assert text.index(f"1. {name}: ") < text.index("Warning: ") < text.index("VERDICT")
    desk("verify", f"file://{desk.folder / 'right'}")
    assert not trace.exists()


def test_new_code_is_security_and_gone_code_behaviour(desk: Desk) -> None:
    coded = {**MODEL, "modeling_tiny.py": b"import torch\n"}
    both(desk, MODEL, coded)
    document = compared(desk, "--min-impact", "security", code=1)
    assert file_of(document, "modeling_tiny.py")["impact"] == "security"
    assert "code that users of the model may run" in shown(desk)
    both(desk, coded, MODEL)
    assert file_of(compared(desk, code=1), "modeling_tiny.py")["impact"] == "behaviour"
    compared(desk, "--min-impact", "security", code=0)


def test_code_that_a_configuration_begins_to_name_is_security(desk: Desk) -> None:
    config = json.loads(MODEL["config.json"])
    mapped = {**config, "auto_map": {"AutoModel": "modeling_tiny.TinyModel"}}
    both(desk, MODEL, {**MODEL, "config.json": dumped(mapped)})
    document = compared(desk, "--min-impact", "security", code=1)
    assert [finding["rule"] for finding in document["findings"]] == ["custom-code"]
    assert "names Python code that trust_remote_code runs" in shown(desk)


def test_a_template_that_moved_to_its_own_file_is_recognised(desk: Desk) -> None:
    template = "{% for m in messages %}\n{{ m }}\n{% endfor %}"
    inside = {"tokenizer_config.json": dumped({"chat_template": template, "a": 1})}
    outside = {"tokenizer_config.json": dumped({"a": 1}), "chat_template.jinja": template.encode()}
    both(desk, inside, outside)
    note = "chat template 'default' is unchanged: tokenizer_config.json left, "
    document = compared(desk, code=1)
    assert note + "chat_template.jinja right" in document["notes"]
    why = "the template itself is unchanged; loaders find it in another file"
    assert file_of(document, "chat_template.jinja")["summary"] == why
    assert [one["reason"] for one in file_of(document, "tokenizer_config.json")["changes"]] == [why]
    assert "prompts are rendered otherwise" not in shown(desk)
    both(desk, inside, {**outside, "chat_template.jinja": template.encode() + b"\n"})
    assert compared(desk, code=1)["notes"] == []


def test_a_tokenizer_of_17_mb_is_explained_and_other_json_of_that_size_is_not(desk: Desk) -> None:
    vocab = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}
    grown = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}
    blank = b" " * 17_000_000
    both(
        desk,
        {"tokenizer.json": dumped(vocab) + blank, "data.json": dumped(vocab) + blank},
        {"tokenizer.json": dumped(grown) + blank, "data.json": dumped(grown) + blank},
    )
    document = compared(desk, code=1)
    [change] = file_of(document, "tokenizer.json")["changes"]
    assert (change["at"], change["what"]) == ("/model/vocab", "1 token added, id 1")
    assert file_of(document, "data.json").get("changes", []) == []


# VmHWM is this program's own peak; ru_maxrss would start from that of the process that forked it.
MEASURED = """
import re, sys
from manifestd.cli.main import run
code = run(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())
print(int(peak[1]) // 1024, file=sys.stderr)
sys.exit(code)
"""


def hostile(last: bytes) -> dict[str, bytes]:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000) + last)
    return {
        "nested.json": b"[" * 10_000_000 + last,
        "nested.index.json": b"[" * 10_000_000 + last,
        "digits.json": b'{"a": ' + b"9" * 5000 + last + b"}",
        "bomb.bin": bomb.getvalue(),
        "header.safetensors": (100_000_000).to_bytes(8, "little"),
    }


@pytest.mark.slow
def test_files_made_to_hurt_are_refused_in_bounded_memory_and_the_snapshot_is_complete(
    desk: Desk,
) -> None:
    for name, last in (("left", b"0"), ("right", b"1")):
        desk.tree(name, hostile(last))
        with (desk.folder / name / "header.safetensors").open("r+b") as file:
            file.seek(100_000_007)
            file.write(last)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, "-q", "snapshot", "dir", name],
            cwd=desk.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert int(done.stderr.split()[-1]) < 250, "MiB"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    document = compared(desk, code=1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 6
    said = {file["path"]: file.get("summary", "") for file in document["files"]}
    assert "left not read as JSON" in said["nested.json"]
    assert "not read as JSON" in said["digits.json"]
    assert "100000000 bytes" in said["header.safetensors"]
    assert "compressed" in said["bomb.bin"]
