"""What the documentation says is so: commands print what is shown, links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import pytest

from manifestd.cli.main import COMMANDS
from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import drifted, tiny_model
from manifestd.loopback.s3 import LoopbackS3
from tests.support import generated_docs
from tests.support.console import Console, play, steps
from tests.support.s3_server import aws_environment, reset

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")]
)
PLAYED: Final = [
    page for page in PAGES if any(True for _ in steps((ROOT / page).read_text(encoding="utf-8")))
]
LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[LoopbackHub, LoopbackS3]]:
    """The Hub and the bucket of which the pages speak."""
    with LoopbackHub() as hub, LoopbackS3() as s3:
        reset(s3.endpoint)  # all servers of one process have one memory
        for name in ("acme/tiny", "openai-community/gpt2", "org/name"):
            model = tiny_model(name)
            commit = hub.add_repo(name, model, lfs={"model.safetensors"}, card={"license": "mit"})
            for tag in ("v1", "v1.0"):
                hub.add_tag(name, tag, commit)
            hub.add_repo(name, {"data.csv": b"a,b\n"}, repo_type="dataset")
            hub.add_repo(name, {"app.py": b"print()\n"}, repo_type="space")
            short = name.rpartition("/")[2]
            for prefix in (f"{short}/", f"{short}-v1/", f"{name}/"):
                s3.put("models", model, prefix)
            s3.put("models", drifted(model), f"{short}-drifted/")
        yield hub, s3


@pytest.fixture
def console(
    servers: tuple[LoopbackHub, LoopbackS3], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Console:
    """An empty directory with the checked-in example, in a world of those servers."""
    import huggingface_hub.constants

    hub, s3 = servers
    for name in list(os.environ):
        if name.startswith(("MANIFESTD_", "HF_TOKEN", "HUGGING_FACE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    aws_environment(monkeypatch, s3.endpoint, tmp_path)
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copytree(ROOT / "snapshots" / "tiny", folder / "snapshots" / "tiny")
    monkeypatch.chdir(folder)
    return Console(folder, monkeypatch)


@pytest.mark.parametrize("page", PLAYED)
def test_the_commands_of_a_page_print_what_it_shows(page: str, console: Console) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    if not any(step.command.startswith("manifestd init") for step in steps(text)):
        console("manifestd init")
    if faults := play(text, console):
        pytest.fail(f"{page} is not true\n\n" + "\n\n".join(faults), pytrace=False)


def test_a_page_that_is_not_true_is_found(console: Console) -> None:
    page = (
        "```console\n$ echo one; echo two\none\n…\n$ echo three\nfour\n$ false\n$ echo $?\n1\n```\n"
        "<!-- not run: nobody has it -->\n```console\n$ exit 1\n```\n"
        "<!-- setup\n$ echo made > file\n-->\n```console\n$ cat \\\n> file\nm… \n```\n"
    )
    assert [fault.splitlines()[0] for fault in play(page, console)] == [
        "line 5: $ echo three",
        "line 7: $ false",
    ]


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in LINK.findall(text):
        path, _, anchor = urllib.parse.unquote(target).partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert not broken


def _anchors(file: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_of_a_command_is_its_help(name: str) -> None:
    written = generated_docs.sections(generated_docs.PAGE.read_text(encoding="utf-8"))
    assert written.get(name) == generated_docs.section(name), (
        f"run `make docs` to write {name} anew"
    )


def test_the_reference_lists_no_command_that_is_gone() -> None:
    written = generated_docs.sections(generated_docs.PAGE.read_text(encoding="utf-8"))
    assert set(written) - {""} == set(COMMANDS)


def test_the_index_lists_every_page() -> None:
    assert generated_docs.INDEX.read_text(encoding="utf-8") == generated_docs.index(), (
        "run `make docs`"
    )


def test_every_benchmark_stands_in_their_list() -> None:
    listed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in ROOT.glob("benchmarks/*.py") if path.name not in listed]


def test_every_code_of_an_error_stands_in_the_reference() -> None:
    from manifestd import errors

    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    kinds = [kind for kind in vars(errors).values()
             if isinstance(kind, type) and issubclass(kind, errors.ManifestdError)]  # fmt: skip
    rows = {(kind.code, kind.exit_code) for kind in kinds if kind is not errors.ManifestdError}
    assert not [code for code, exit_code in rows if f"| `{code}` | {exit_code} |" not in page]


def test_every_decision_has_a_number_of_its_own() -> None:
    names = [path.name for path in (ROOT / "docs" / "adr").glob("*.md")]
    assert sorted(int(name[:4]) for name in names) == list(range(len(names)))
