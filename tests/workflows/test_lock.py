"""The lock file: one spelling, one line a file, checked without a store; a part is never the whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manifestd.cli.main import run
from manifestd.errors import MalformedError, MismatchError, NotCanonicalError
from manifestd.exports.sha256sum import sum_line
from manifestd.model.lockfile import Locked, decode_lock, lock_lines
from manifestd.model.manifest import Item, manifest_digest
from manifestd.store import open_store
from manifestd.workflows.lock import write_lock
from tests.support.schemas import check_document
from tests.support.trees import write_tree
from tests.workflows.stored import keep

Capture = pytest.CaptureFixture[str]
FILES = {
    "config.json": b"{}",
    "README.md": b"# M\n",
    "weights/part.bin": b"w" * 10_000,
    "ü \\odd\nname": b"odd",
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A locked model ``m``, and a copy of it."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "desk"]) == 0
    monkeypatch.setenv("MANIFESTD_CONFIG", "desk/manifestd.toml")
    write_tree(tmp_path / "m", FILES)
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    assert run(["lock", "-o", "manifestd.lock", "m"]) == 0
    shutil.copytree("m", "copy")
    shutil.rmtree("desk")
    monkeypatch.delenv("MANIFESTD_CONFIG")
    capsys.readouterr()
    return tmp_path


def check(capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["verify", "--lock", "manifestd.lock", *arguments, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    if document["schema"] == "manifestd.lock-check/v1":
        check_document("lock-check", document)
        assert document["exitCode"] == code
        assert document["verified"] == (code == 0)
    return code, document


def test_a_lock_file_has_a_line_for_each_file_and_fits_its_schema(model: Path) -> None:
    text = Path("manifestd.lock").read_text()
    check_document("lock", text)
    lines = text.splitlines()
    assert len(lines) == 4 + len(FILES)
    assert lines[2].startswith('{"path":"README.md","sha256":"')
    lock = decode_lock(text.encode())
    assert [file.path for file in lock.models[0].files] == sorted(FILES, key=str.encode)


def test_the_whole_model_verifies_without_store_and_configuration(
    model: Path, capsys: Capture
) -> None:
    code, document = check(capsys, "copy")
    assert (code, document["result"], document["matching"]) == (0, "whole", 4)
    assert sorted(path.name for path in model.iterdir()) == ["copy", "m", "manifestd.lock"]
    assert run(["verify", "--lock", "manifestd.lock", "copy"]) == 0
    assert capsys.readouterr().out.startswith("verified: all 4 files are those of the lock file\n")


def test_a_part_is_never_a_plain_pass(model: Path, capsys: Capture) -> None:
    Path("copy/weights/part.bin").unlink()
    code, document = check(capsys, "copy")
    assert (code, document["result"], document["missing"]) == (1, "subset", ["weights/part.bin"])
    code, document = check(capsys, "copy", "--allow-subset")
    assert (code, document["result"]) == (0, "subset")
    assert run(["verify", "--lock", "manifestd.lock", "copy", "--allow-subset"]) == 0
    assert capsys.readouterr().out.startswith("subset: 3 of 4 files")


@pytest.mark.parametrize("options", [[], ["--allow-subset"]])
@pytest.mark.parametrize(
    ("name", "data"),
    [("config.json", b"[]"), ("config.json", b"{} "), ("evil.py", b"x"), ("sub/evil.py", b"")],
)
def test_other_bytes_and_other_files_do_not_verify(
    model: Path, capsys: Capture, name: str, data: bytes, options: list[str]
) -> None:
    path = Path("copy", name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    code, document = check(capsys, "copy", *options)
    assert (code, document["result"]) == (4, "different")
    assert [problem["path"] for problem in document["problems"]] == [name]


def test_a_link_out_of_the_directory_is_not_followed(model: Path, capsys: Capture) -> None:
    Path("copy/config.json").unlink()
    Path("copy/config.json").symlink_to(Path("m/config.json").absolute())
    assert check(capsys, "copy")[0] == 3
    Path("copy/more.json").symlink_to("/etc/passwd")
    assert check(capsys, "copy")[0] == 4


def test_nothing_checked_is_no_pass(model: Path, capsys: Capture) -> None:
    Path("empty").mkdir()
    assert check(capsys, "empty", "--allow-subset")[1]["code"] == "source-empty"
    Path("empty/other").write_text("x")
    assert check(capsys, "empty", "--allow-subset")[0] == 3
    assert check(capsys, "nowhere")[0] == 3
    assert check(capsys)[1]["code"] == "usage"


def test_checking_loads_no_library_of_a_source_or_the_store(model: Path) -> None:
    program = (
        "import sys\nfrom manifestd.cli.main import run\n"
        "assert run(['verify', '--lock', 'manifestd.lock', 'copy']) == 0\n"
        "names = ('boto3', 'huggingface_hub', 'sqlite_utils', 'cryptography')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        (b'"size":2', b'"size":3', MismatchError),
        (b'"size":2', b'"size": 2', NotCanonicalError),
        (b'"size":2', b'"size":2,"size":2', NotCanonicalError),
        (b'"size":2', b'"size":2,"x":2', MalformedError),
        (b'"size":2', b'"size":2.0', MalformedError),
        (b'"size":2', b'"size":-2', MalformedError),
        (b'"path":"config.json"', b'"path":"config.jsox"', MismatchError),
        (b'"path":"config.json"', b'"path":""', MalformedError),
        (b"]}\n]}\n", b"]}\n]}", NotCanonicalError),
        (b"]}\n]}\n", b"", MalformedError),
        (b"manifestd.lock/v1", b"manifestd.lock/v2", MalformedError),
    ],
)  # fmt: skip
def test_a_lock_file_that_was_edited_is_refused(
    model: Path, capsys: Capture, before: bytes, after: bytes, error: type[Exception]
) -> None:
    data = Path("manifestd.lock").read_bytes()
    assert before in data
    changed = data.replace(before, after, 1)
    with pytest.raises(error):
        decode_lock(changed)
    Path("manifestd.lock").write_bytes(changed)
    code, found = check(capsys, "copy")
    assert code == 4
    assert found["what"].startswith("manifestd.lock: ")
    assert found["hint"]


def test_a_lock_file_without_files_or_models_is_refused() -> None:
    empty = manifest_digest([Item("a", 0, "0" * 64)])
    head: dict[str, Any] = {
        "name": "m", "source": "x", "revision": None, "manifest": empty, "ignore": [],
    }  # fmt: skip
    twice: list[Locked] = [(head, [Item("a", 0, "0" * 64)])] * 2
    nothing: list[Locked] = [(head, [])]
    for models in ([], nothing, twice):
        with pytest.raises((MalformedError, MismatchError)):
            decode_lock(b"".join(lock_lines(models)))


def test_of_several_models_one_is_named(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "store" / "s.db"
    with open_store(folder, write=True) as store:
        one = keep(store, {"a": b"1"}, name="one", source="hf://org/one")
        two = keep(store, {"a": b"2"}, name="two", source="s3://b/two/")
        data = b"".join(write_lock(store, [two, one, one]))
        assert data == b"".join(write_lock(store, [one, two]))
    assert [model.name for model in decode_lock(data).models] == ["one", "two"]
    path = tmp_path / "manifestd.lock"
    path.write_bytes(data)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"2")
    base = ["verify", "--lock", str(path), str(tmp_path / "d")]
    assert run(base) == 2
    assert "one (hf://org/one), two" in capsys.readouterr().err
    assert run([*base, "--name", "two"]) == 0
    assert run([*base, "--name", "s3://b/two/"]) == 0
    assert run([*base, "--name", "one"]) == 4
    assert run([*base, "--name", "three"]) == 3
    capsys.readouterr()
    out = str(tmp_path / "again.lock")
    assert run(["--store", str(folder), "lock", "-o", out, "one", "two", "one"]) == 0
    assert capsys.readouterr().out == f"{out} pins 2 snapshots\n"


def test_what_the_snapshot_left_out_is_not_looked_at(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        one = keep(store, {"a": b"1"}, ignore=["*.md"])
        (tmp_path / "manifestd.lock").write_bytes(b"".join(write_lock(store, [one])))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"1")
    (tmp_path / "d" / "README.md").write_bytes(b"whatever")
    base = ["verify", "--lock", str(tmp_path / "manifestd.lock"), str(tmp_path / "d")]
    assert run(base) == 0
    (tmp_path / "d" / "README.txt").write_bytes(b"extra")
    assert run(base) == 4


def test_an_incomplete_snapshot_cannot_be_locked_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    Path("d/a").write_text("1")
    assert run(["-q", "snapshot", "dir", "d", "--read", "none", "--no-sign"]) == 3
    assert run(["lock", "-o", "manifestd.lock", "d"]) == 2
    assert not Path("manifestd.lock").exists()
    assert not Path("manifestd.lock.part").exists()
    assert run(["-q", "snapshot", "dir", "d", "--no-sign"]) == 0
    capsys.readouterr()
    assert run(["lock", "d"]) == 0
    seen = capsys.readouterr()
    assert "unsigned" in seen.err
    decode_lock(seen.out.encode())


def test_sha256sum_checks_what_we_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "m", FILES)
    assert run(["-q", "snapshot", "dir", "m", "--no-sign"]) == 0
    assert run(["lock", "--as", "sha256sum", "-o", "SUMS", "m"]) == 0
    capsysbinary.readouterr()
    command = ["sha256sum", "--strict", "-c", "../SUMS"]
    assert subprocess.run(command, cwd="m", capture_output=True, check=False).returncode == 0
    Path("m/config.json").write_text("[]")
    assert subprocess.run(command, cwd="m", capture_output=True, check=False).returncode == 1
    assert run(["lock", "--as", "sha256sum", "m", "m"]) == 2


def test_names_with_line_breaks_are_escaped_as_coreutils_do() -> None:
    assert sum_line(Item("a", 0, "00")) == b"00  a\n"
    assert sum_line(Item("a\\b\rc", 0, "00")) == b"\\00  a\\\\b\\rc\n"
