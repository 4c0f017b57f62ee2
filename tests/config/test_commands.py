"""``init`` and ``key`` as their user runs them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from manifestd.cli.main import run
from manifestd.config import load_config
from manifestd.signing.file import PASSPHRASE_VARIABLE, FileSigner
from manifestd.signing.trust import load_trust
from manifestd.store import open_store

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("MANIFESTD_CONFIG", "MANIFESTD_STORE", PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_init_makes_a_configuration_whose_own_key_is_trusted(here: Path, capsys: Capture) -> None:
    assert run(["init"]) == 0
    assert "key id" in capsys.readouterr().out
    config = load_config(None, {})
    key = config.signing_key()
    assert key == "keys/manifestd.pem"
    assert stat.S_IMODE(Path(key).stat().st_mode) == 0o600
    [entry] = load_trust(config).entries
    assert entry.key.pem == FileSigner(key).public_pem()
    assert entry.may == ["snapshot", "tag"]
    assert Path("keys/.gitignore").read_text() == "*.pem\n"
    with open_store(config.store_path({})) as store:
        assert store.snapshots.list() == []


@pytest.mark.parametrize(
    "taken",
    ["manifestd.toml", "keys/manifestd.pem", "keys/manifestd.pem.pub", "snapshots/manifestd.db"],
)
def test_init_overwrites_nothing_and_then_makes_nothing(
    here: Path, capsys: Capture, taken: str
) -> None:
    path = here / "repo" / taken
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    assert run(["init", "repo"]) == 2
    assert "overwrites nothing" in capsys.readouterr().err
    assert [item for item in (here / "repo").rglob("*") if item.is_file()] == [path]
    assert path.read_text() == "precious"


def test_init_elsewhere_takes_any_name_for_the_person(here: Path, capsys: Capture) -> None:
    odd = 'Zoë 🦊 "the\\key"\nholder\x7f'
    assert run(["init", "a/b", "--person", odd]) == 0
    [entry] = load_trust(load_config(Path("a/b/manifestd.toml"), {})).entries
    assert entry.person == odd
    assert Path("a/b/snapshots/manifestd.db").is_file()
    assert run(["--config", "a/b/manifestd.toml", "key", "list"]) == 0
    assert "\x7f" not in capsys.readouterr().out


def test_init_with_a_store_elsewhere_names_it_in_the_configuration(here: Path) -> None:
    assert run(["--store", "elsewhere/m.db", "init", "repo"]) == 0
    config = load_config(Path("repo/manifestd.toml"), {})
    assert config.store_path({}) == here / "elsewhere/m.db"
    assert (here / "elsewhere/m.db").is_file()
    assert not Path("repo/snapshots").exists()


def test_init_that_fails_half_way_leaves_no_key_behind(here: Path) -> None:
    (here / "repo").mkdir()
    (here / "repo" / "snapshots").write_text("not a directory")
    assert run(["init", "repo"]) != 0
    assert not list((here / "repo").rglob("*.pem*"))
    assert not (here / "repo" / "manifestd.toml").exists()


def test_a_new_key_can_be_shown_by_file_and_by_id(here: Path, capsys: Capture) -> None:
    assert run(["key", "new", "new/dir/alice.pem", "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["algorithm"] == "p256"
    assert (made["private"], made["public"]) == ("new/dir/alice.pem", "new/dir/alice.pem.pub")
    Path("manifestd.toml").write_text(
        "[[trust]]\nkey='new/dir/alice.pem.pub'\nperson='alice'\nuntil=2027-01-01\n"
    )
    for which in ("new/dir/alice.pem", "new/dir/alice.pem.pub", made["keyId"], made["keyId"][:8]):
        assert run(["key", "show", which]) == 0
        text = capsys.readouterr().out
        assert made["keyId"] in text
        assert made["pem"] in text
        assert "alice: snapshot (until 2027-01-01)" in text
        assert "PRIVATE" not in text


def test_key_list_says_whose_keys_count_and_which_signs(here: Path, capsys: Capture) -> None:
    assert run(["init", "--person", "alice"]) == 0
    capsys.readouterr()
    assert run(["key", "list"]) == 0
    text = capsys.readouterr().out
    assert "alice" in text
    assert "always" in text
    assert run(["key", "list", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["signing"]["keyId"] == document["trusted"][0]["keyId"]
    Path("manifestd.toml").write_text("")
    assert run(["key", "list"]) == 0
    assert "no key signs here" in capsys.readouterr().out


def test_an_encrypted_key_takes_its_passphrase_from_the_environment(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "horse")
    assert run(["key", "new", "a.pem", "--passphrase"]) == 0
    assert b"ENCRYPTED" in Path("a.pem").read_bytes()
    assert "horse" not in capsys.readouterr().out
    assert run(["key", "show", "a.pem"]) == 0
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "cow")
    assert run(["key", "show", "a.pem"]) == 2
    assert "does not open" in capsys.readouterr().err


@pytest.mark.parametrize("which", ["absent.pem", "deadbeef", ".", "awskms://x/y", "vault:///x"])
def test_key_show_of_what_is_no_key_is_wrong_usage(here: Path, capsys: Capture, which: str) -> None:
    assert run(["key", "show", which]) == 2
    assert capsys.readouterr().err.startswith("Error: ")


def test_a_wrong_configuration_is_one_clear_error_in_text_and_json(
    here: Path, capsys: Capture
) -> None:
    Path("manifestd.toml").write_text("[signing]\nkee = 'x'\n")
    assert run(["key", "list"]) == 2
    assert capsys.readouterr().err == (
        "Error: manifestd.toml: signing.kee: unknown key\nhint: did you mean signing.key?\n"
    )
    assert run(["key", "list", "--format", "json"]) == 2
    error = json.loads(capsys.readouterr().out)
    assert (error["code"], error["exitCode"]) == ("config-invalid", 2)
    assert error["facts"]["key"] == "signing.kee"


def test_the_passphrase_is_never_asked_for_without_a_terminal(here: Path, capsys: Capture) -> None:
    assert run(["key", "new", "a.pem", "--passphrase"]) == 2
    assert "no terminal" in capsys.readouterr().err
    assert not Path("a.pem").exists()
