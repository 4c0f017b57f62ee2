"""``manifestd diff`` as a user and a pipeline run it: output, exit codes, signatures, no network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml

from manifestd import canonical
from manifestd.cli.diff import FORMATS
from manifestd.cli.main import run
from manifestd.reports import REPORTS
from manifestd.store import open_store
from tests.support.schemas import check_document

FILES = {"config.json": b'{"torch_dtype": "float16"}', "model.bin": b"weights", "a.txt": b"a"}
COMMAND = Path(sys.executable).with_name("manifestd")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured folder with snapshots of the same model in two places, ``left`` and ``right``."""
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    for side in ("left", "right"):
        write(tmp_path / side, FILES)
        assert run(["-q", "snapshot", "dir", side]) == 0
    return tmp_path


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def change(models: Path, **files: bytes) -> None:
    """Write other files on the right and take its snapshot again."""
    write(models / "right", {name.replace("_", "."): data for name, data in files.items()})
    assert run(["-q", "snapshot", "dir", "right"]) == 0


def test_the_same_files_in_two_places_pass(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["diff", "left", "right"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("PASS  identical: 3 files are identical\n")
    assert "signed by" in shown


def test_a_changed_key_is_shown_and_exits_1(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(models, config_json=b'{"torch_dtype": "bfloat16"}')
    capsys.readouterr()
    assert run(["diff", "left", "right"]) == 1
    assert '/torch_dtype: "float16" -> "bfloat16"' in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--changes-only"], ["--strict"]])
def test_json_fits_its_schema_when_it_fails(
    models: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    change(models, model_bin=b"Weights")
    capsys.readouterr()
    assert run(["diff", "left", "right", "--format", "json", *options]) == 1
    text = capsys.readouterr().out
    check_document("diff", text)
    document = json.loads(text)
    listed = {file["path"]: file["verdict"] for file in document["files"]}
    expected = {"model.bin": "different"}
    if "--changes-only" not in options:
        expected |= {"a.txt": "identical", "config.json": "identical"}
    assert listed == expected
    assert document["counts"]["identical"] == 2
    assert document["left"]["signature"] == "verified"


def test_json_of_an_error_is_an_error_document(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["diff", "left", "hf://no/such", "--format", "json"]) == 3
    text = capsys.readouterr().out
    check_document("error", text)
    assert json.loads(text)["code"] == "not-stored"


def test_the_output_goes_to_a_file(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(models, model_bin=b"Weights")
    capsys.readouterr()
    assert run(["diff", "left", "right", "--format", "junit", "-o", "report.xml"]) == 1
    assert capsys.readouterr().out == ""
    suites = JUnitXml.fromfile(str(models / "report.xml"))
    assert (suites.tests, suites.failures) == (3, 1)


def test_the_help_names_every_built_in_report() -> None:
    assert list(FORMATS) == list(REPORTS.members)


def test_strict_refuses_what_is_only_equivalent(models: Path) -> None:
    change(models, config_json=b'{ "torch_dtype":  "float16" }')
    assert run(["diff", "left", "right"]) == 0
    assert run(["diff", "left", "right", "--strict"]) == 1


def test_a_minimum_impact_lets_documentation_pass(models: Path) -> None:
    change(models, a_txt=b"other words\n")
    assert run(["diff", "left", "right"]) == 1
    assert run(["diff", "left", "right", "--min-impact", "behaviour"]) == 0
    assert run(["diff", "left", "right", "--min-impact", "metadata"]) == 1


def test_evidence_below_the_minimum_exits_3(models: Path) -> None:
    assert run(["diff", "left", "right", "--min-evidence", "measured"]) == 0
    assert run(["-q", "snapshot", "dir", "right"]) == 0  # unchanged: measured becomes reused
    assert run(["diff", "left", "right", "--min-evidence", "reused"]) == 0
    assert run(["diff", "left", "right", "--min-evidence", "measured"]) == 3


def test_an_unsigned_side_is_said_and_refused_only_where_required(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(models / "bare", FILES)
    assert run(["-q", "snapshot", "dir", "bare", "--no-sign"]) == 0
    capsys.readouterr()
    assert run(["diff", "left", "bare"]) == 0
    assert "NOT SIGNED" in capsys.readouterr().out
    assert run(["diff", "left", "bare", "--require-signature"]) == 4
    assert "the right snapshot is not signed" in capsys.readouterr().out


def test_a_key_that_is_trusted_no_more_is_said(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = '[store]\npath = "snapshots/manifestd.db"\n'
    (models / "manifestd.toml").write_text(settings)
    capsys.readouterr()
    assert run(["diff", "left", "right"]) == 0
    assert "DOES NOT COUNT" in capsys.readouterr().out
    assert run(["diff", "left", "right", "--require-signature"]) == 4


def test_a_signature_that_does_not_verify_exits_4_even_for_equal_files(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_store(models / "snapshots" / "manifestd.db", write=True) as store:
        digests = [row.digest for row in store.snapshots.list()]
        forged = json.loads(store.snapshots.bundles(digests[0])[0])
        other = json.loads(store.snapshots.bundles(digests[1])[0])
        forged["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]
        store.snapshots.attach(digests[0], canonical.encode(forged))
    capsys.readouterr()
    assert run(["diff", "left", "right"]) == 4
    shown = capsys.readouterr().out
    assert shown.startswith("FAIL  identical")
    assert "SIGNATURE DOES NOT VERIFY" in shown


def test_colours_stay_off_where_there_is_no_terminal(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(models, model_bin=b"Weights")
    capsys.readouterr()
    run(["diff", "left", "right"])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["diff"],
        ["diff", "left"],
        ["diff", "a", "b", "--min-evidence", "none-such"],
        ["diff", "a", "b", "--format", "none-such"],
    ],
)
def test_wrong_usage_exits_2(models: Path, arguments: list[str]) -> None:
    assert run(arguments) == 2


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_socket_is_opened(models: Path) -> None:
    trace = models / "trace"
    program = ["strace", "-f", "-e", "trace=socket,connect", "-o", str(trace)]
    done = subprocess.run(
        [*program, str(COMMAND), "diff", "left", "right"], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert "socket(" not in trace.read_text()


def test_it_works_where_sockets_cannot_be_made(models: Path) -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*args, **more): raise AssertionError('a socket was opened')\n"
        "socket.socket.__init__ = refuse\n"
        "socket.create_connection = socket.getaddrinfo = refuse\n"
        "from manifestd.cli.main import run\n"
        "code = run(['diff', 'left', 'right'])\n"
        "heavy = {'boto3', 'botocore', 'huggingface_hub', 'sqlite_utils', 'httpx2'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")


def test_help_starts_fast_because_it_imports_little() -> None:
    program = (
        "import sys\n"
        "from manifestd.cli.main import run\n"
        "run(['diff', '--help'])\n"
        "heavy = {'boto3', 'huggingface_hub', 'sqlite_utils', 'sqlite3', 'cryptography', 'rich',"
        " 'yaml', 'blake3', 'manifestd.workflows.compare', 'manifestd.store'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
