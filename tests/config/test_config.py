"""The configuration: the contract's example loads, every mistake is named by its key."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from manifestd.config import Config, load_config, parse_config
from manifestd.errors import ConfigError
from manifestd.signing.file import new_key
from manifestd.signing.trust import load_trust

EXAMPLE = """
[store]
path = "snapshots/manifestd.db"

[signing]
key = "keys/manifestd.pem"

[[trust]]
key = "keys/alice.pub"
person = "alice"
groups = ["ml"]
may = ["snapshot", "approve", "tag"]
until = 2027-01-01

[defaults]
read = "missing"
ignore = [".gitattributes"]
sides = { hub = "hf://{name}@main", mirror = "s3://models/{name}/" }

[[model]]
name = "openai-community/gpt2"
sides = { mirror = "s3://models/gpt2-v1/" }
paths = [["pytorch_model.bin", "weights/pytorch_model.bin"], ["onnx/*", "export/onnx/*"]]

[[select]]
hf = { author = "openai-community", tags = ["text-generation"], limit = 50 }

[policy]
min_evidence = "declared"
licenses = ["mit", "apache-2.0"]
required = ["config.json", "*.safetensors|*.gguf"]
forbidden = ["*.pkl", "*.bin"]

[[policy.waiver]]
model = "openai-community/gpt2"
rule = "forbidden"
path = "pytorch_model.bin"
owner = "alice"
reason = "needed until the 4.2 release"
expires = 2027-03-31

[[tags]]
pattern = "*:v*"
immutable = true

[[tags]]
pattern = "*:production"
approvals = [{ count = 2, group = "ml" }, { count = 1, group = "compliance" }]
exclude_author = true

[[notify]]
url = "slack://${SLACK_TOKEN}/releases"
on = ["fail", "unknown", "error"]
"""

HERE = Path("etc/manifestd.toml")


def parse(text: str) -> Config:
    return parse_config(text.encode(), HERE)


def test_the_contracts_example_loads_whole() -> None:
    config = parse(EXAMPLE)
    assert config.path == HERE
    assert config.signing_key() == "etc/keys/manifestd.pem"
    [alice] = config.trust
    assert (alice.person, alice.groups, alice.may) == (
        "alice",
        ["ml"],
        ["snapshot", "approve", "tag"],
    )
    assert alice.until == datetime(2027, 1, 1, 23, 59, 59, 999999, tzinfo=UTC)
    assert list(config.defaults.sides) == ["hub", "mirror"]
    [model] = config.model
    assert model.paths[1] == ("onnx/*", "export/onnx/*")
    assert config.select[0].hf.limit == 50
    assert config.policy.min_evidence == "declared"
    assert config.policy.waiver[0].expires.date() == date(2027, 3, 31)
    assert [rule.immutable for rule in config.tags] == [True, False]
    assert config.tags[1].approvals[1].group == "compliance"
    assert config.notify[0].on == ["fail", "unknown", "error"]


def test_no_file_means_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {})
    assert config == Config()
    assert config.path is None
    assert config.signing_key() is None
    assert config.store_path({}) == Path("snapshots/manifestd.db")


def test_the_file_is_found_here_by_its_name_or_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("manifestd.toml").write_text("[store]\npath='a.db'\n")
    Path("sub").mkdir()
    Path("sub/other.toml").write_text("[store]\npath='b.db'\n")
    assert load_config(None, {}).store_path({}) == Path("a.db")
    named = load_config(None, {"MANIFESTD_CONFIG": "sub/other.toml"})
    assert named.store_path({}) == Path("sub/b.db")
    assert load_config(Path("sub/other.toml"), {"MANIFESTD_CONFIG": "x"}).path == Path(
        "sub/other.toml"
    )


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration"):
        load_config(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


def test_the_store_is_beside_the_file_unless_the_environment_says_otherwise() -> None:
    assert parse("").store_path({}) == Path("etc/snapshots/manifestd.db")
    assert parse("[store]\npath='/abs/x.db'").store_path({}) == Path("/abs/x.db")
    assert parse("").store_path({"MANIFESTD_STORE": "elsewhere.db"}) == Path("elsewhere.db")
    assert parse("").store_path({"MANIFESTD_STORE": ""}) == Path("etc/snapshots/manifestd.db")


def test_key_uris_with_a_scheme_are_left_alone() -> None:
    config = parse("[signing]\nkey = 'awskms:///alias/release'")
    assert config.signing_key() == "awskms:///alias/release"


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[store]\npth = 'x'", "store.pth", "store.path"),
        ("[stor]\npath = 'x'", "stor", "store"),
        ("[signing]\nkeys = 'x'", "signing.keys", "signing.key"),
        ("[[trust]]\nkey='a'\nperson='p'\n[[trust]]\nkey='b'\nperson='q'\nuntill=2027-01-01",
         "trust[1].untill", "trust[1].until"),
        ("[[trust]]\nkey='a'\nperson='p'\nmay=['aprove']", "trust[0].may[0]", "approve"),
        ("[defaults]\nread='mising'", "defaults.read", "missing"),
        ("[[model]]\nname='x'\nside={a='b'}", "model[0].side", "model[0].sides"),
        ("[[select]]\nhf={auther='x'}", "select[0].hf.auther", "select[0].hf.author"),
        ("[policy]\nlicences=['mit']", "policy.licences", "policy.licenses"),
        ("[policy]\nmin_evidence='mesured'", "policy.min_evidence", "measured"),
        ("[[tags]]\npattern='*'\napprovals=[{cont=1}]", "tags[0].approvals[0].cont",
         "tags[0].approvals[0].count"),
        ("[[notify]]\nurl='x'\non=['failed']", "notify[0].on[0]", "fail"),
        ("[trust]\nkey='a'\nperson='p'", "trust", "[[trust]]"),
        ("zzz = 1", "zzz", None),
    ],
)  # fmt: skip
def test_an_unknown_key_or_word_is_named_with_its_nearest_right_one(
    text: str, key: str, nearest: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    error = caught.value
    assert error.what.startswith(f"{HERE}: {key}: ")
    assert error.facts == {"file": str(HERE), "key": key, "nearest": nearest}
    if nearest is None:
        assert "known are store, signing" in (error.hint or "")
    else:
        assert error.hint == f"did you mean {nearest}?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store = 'x'", "store: expected a table, found text"),
        ("[store]\npath = 1", "store.path: expected text, found a whole number"),
        ("[store]\npath = ''", "store.path: must not be empty"),
        ("[[trust]]\nkey='a'", "trust[0].person: missing"),
        ("[[trust]]\nkey='a'\nperson='p'\nuntil='2027-01-01'",
         "trust[0].until: expected a date without quotes, such as 2027-01-31, found text"),
        ("[[trust]]\nkey='a'\nperson='p'\nuntil=2027-01-01T10:00:00",
         "trust[0].until: a time needs its zone, such as 2027-01-31T18:00:00Z"),
        ("[defaults]\nsides={a=1}", "defaults.sides.a: expected text, found a whole number"),
        ("[defaults]\nsides=['a']", "defaults.sides: expected a table, found a list"),
        ("[defaults]\nignore='*.bin'", "defaults.ignore: expected a list, found text"),
        ("[[model]]\nname='x'\npaths=[['a']]", "model[0].paths[0]: expected 2 items, found 1"),
        ("[[select]]\nhf={limit=0}", "select[0].hf.limit: must be at least 1, is 0"),
        ("[[select]]\nhf={limit=true}",
         "select[0].hf.limit: expected a whole number, found true or false"),
        ("[[tags]]\npattern='*'\nimmutable='yes'",
         "tags[0].immutable: expected true or false, found text"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_told_in_words(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.what == f"{HERE}: {message}"
    assert caught.value.exit_code == 2


def test_what_is_not_toml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"not valid TOML: .*line 2"):
        parse("[store]\npath = \n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        parse_config(b"\xff", HERE)
    with pytest.raises(ConfigError):
        parse("a = " + "[" * 100_000)


def test_bare_dates_mean_whole_days_and_times_mean_themselves() -> None:
    config = parse(
        "[[trust]]\nkey='a'\nperson='p'\nfrom=2026-01-01\nuntil=2026-01-31T12:00:00+02:00"
    )
    [entry] = config.trust
    assert entry.from_ == datetime(2026, 1, 1, tzinfo=UTC)
    assert entry.until == datetime(2026, 1, 31, 10, tzinfo=UTC)


def test_variables_in_notify_urls_come_from_the_environment_and_never_show() -> None:
    [notify] = parse(EXAMPLE).notify
    assert notify.expanded_url({"SLACK_TOKEN": "T/B/X"}) == "slack://T/B/X/releases"
    with pytest.raises(ConfigError, match="SLACK_TOKEN") as caught:
        notify.expanded_url({})
    assert "slack://" not in caught.value.what


def test_a_trust_entry_may_sign_snapshots_and_no_more_unless_it_says_so() -> None:
    [entry] = parse("[[trust]]\nkey='a'\nperson='p'").trust
    assert entry.may == ["snapshot"]


def test_trusted_keys_are_read_beside_the_file(tmp_path: Path) -> None:
    key = new_key(tmp_path / "a.pem")
    file = tmp_path / "manifestd.toml"
    file.write_text("[[trust]]\nkey='a.pem.pub'\nperson='alice'\nuntil=2027-01-01\n")
    [entry] = load_trust(load_config(file, {})).entries
    assert (entry.key, entry.person) == (key, "alice")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent.pub", "cannot be read"), ("a.pem", "private key"), ("junk", "not a public key")],
)
def test_a_trusted_key_that_is_none_is_named_by_its_entry(
    tmp_path: Path, name: str, reason: str
) -> None:
    new_key(tmp_path / "a.pem")
    (tmp_path / "junk").write_text("junk")
    file = tmp_path / "manifestd.toml"
    file.write_text(
        f"[[trust]]\nkey='a.pem.pub'\nperson='a'\n[[trust]]\nkey='{name}'\nperson='b'\n"
    )
    with pytest.raises(ConfigError, match=rf"trust\[1\]\.key: .*{reason}"):
        load_trust(load_config(file, {}))


def test_one_key_cannot_be_two_people(tmp_path: Path) -> None:
    new_key(tmp_path / "a.pem")
    file = tmp_path / "manifestd.toml"
    entry = "[[trust]]\nkey='a.pem.pub'\nperson='{}'\n"
    file.write_text(entry.format("a") + entry.format("b"))
    with pytest.raises(ConfigError, match="'b' too"):
        load_trust(load_config(file, {}))
    file.write_text(entry.format("a") + entry.format("a"))
    assert len(load_trust(load_config(file, {})).entries) == 2


def test_loading_the_configuration_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "manifestd.toml").write_text(EXAMPLE)
    code = (
        "import os, sys; from manifestd.config import load_config; load_config(None, os.environ);"
        "heavy = {'cryptography', 'boto3', 'huggingface_hub', 'sqlite_utils'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=environment,
    )  # fmt: skip
    assert result.stdout.strip() == "[]"
