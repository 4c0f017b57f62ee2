"""A channel that could never be told ends a run before it begins; nobody is told by finding out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifestd.config import Config
from manifestd.config.shape import Notify
from manifestd.errors import ConfigError, UnreachableError
from manifestd.workflows.notify_check import check_notify
from tests.notifiers.receiver import Receiver, receiver
from tests.workflows.run_world import World, configure, new_world, publish

ENVIRON = {"HOOK": "0123456789abcdef", "SHORT": "0123"}
SECRET = 'secret = "${HOOK}"\n'
TOKEN = "tok3n-THAT-must-never-be-shown"

BAD: dict[str, tuple[str, str, str]] = {
    "an unknown service": (
        f'url = "slak://{TOKEN}"',
        "notify[1] (slak): Apprise does not take",
        "slack://?",
    ),
    "parts that are missing": (
        f'url = "slack://{TOKEN}"',
        "notify[1] (slack): Apprise does not take",
        "https://appriseit.com",
    ),
    "no scheme": (f'url = "{TOKEN}"', "notify[1]: a notify URL has no scheme", "slack://…"),
    "a variable that is not set": (
        'url = "slack://${SLACK_TOKENS}"',
        "notify[1] (slack): it needs the variable SLACK_TOKENS, which is not set",
        "run --no-notify",
    ),
    "a secret that is not set": (
        'url = "webhook+https://hook.example/"\nsecret = "${NONE}"',
        "notify[1] (webhook+https): it needs the variable NONE, which is not set",
        "run --no-notify",
    ),
    "no secret": (
        f'url = "webhook+https://hook.example/{TOKEN}"',
        "needs a secret",
        'secret = "${VARIABLE}"',
    ),
    "a secret too short": (
        'url = "webhook+https://hook.example/"\nsecret = "${SHORT}"',
        "shorter than 16 bytes",
        "openssl rand",
    ),
    "a metadata address": (
        f'url = "webhook+https://169.254.169.254/{TOKEN}"\n{SECRET}allow_private = true',
        "where clouds keep credentials",
        "use another host",
    ),
    "a private address": (
        f'url = "webhook+https://10.0.0.1/"\n{SECRET}',
        "10.0.0.1, which is private",
        "allow_private = true",
    ),
    "this machine": (
        f'url = "webhook+https://localhost/"\n{SECRET}',
        "which is private",
        "allow_private = true",
    ),
    "a private address of a service": (
        'url = "json://10.0.0.1/"',
        "notify[1] (json): the host '10.0.0.1'",
        "allow_private = true",
    ),
    "a public address in the clear": (
        f'url = "webhook+http://8.8.8.8/"\n{SECRET}allow_private = true',
        "must be encrypted",
        "webhook+https://",
    ),
    "a program that is not there": (
        'url = "exec:///no/such/program"',
        "notify[1] (exec): /no/such/program is no program",
        "executable file",
    ),
    "a file that is no program": ('url = "exec:///etc/passwd"', "is no program", "executable"),
    "an unknown part": ('url = "exec:///bin/true?x=1"', "unknown part 'x'", "arg, env, timeout"),
}


@pytest.fixture
def world(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    with new_world(monkeypatch, tmp_path, capsys) as made:
        for name, value in ENVIRON.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as state:
        yield state


def told(*entries: str) -> str:
    """``[[notify]]`` entries."""
    return "".join(f"[[notify]]\n{entry}\n" for entry in entries)


@pytest.mark.parametrize("case", BAD)
def test_a_channel_that_could_never_be_told_ends_a_run_before_any_request(
    world: World, case: str
) -> None:
    entry, what, hint = BAD[case]
    configure(world, "acme/tiny", more=told('url = "exec:///bin/true"', entry))
    for options in ((), ("--offline",)):
        found = world.run("run", *options)
        assert found.code == 2, found
        assert "manifestd.toml: notify[1]" in found.err
        assert what in found.err
        assert hint in found.err.partition("\nhint: ")[2]
        assert TOKEN not in found.err
        assert found.out == ""
    assert (world.hub.requests, world.s3.seen) == ([], [])
    document = world.run("run", "--format", "json").json
    assert (document["code"], document["facts"]["key"]) == ("config-invalid", "notify[1]")


def test_good_channels_are_not_told_by_being_looked_at(world: World, hook: Receiver) -> None:
    url = f"webhook+http://127.0.0.1:{hook.port}/"
    publish(world, "acme/tiny")
    entry = f'url = "{url}"\n{SECRET}allow_private = true'
    configure(world, "acme/tiny", more=told(entry, 'url = "exec:///bin/false"'))
    found = world.run("run")
    assert found.code == 0, found
    assert hook.posts == []


def test_a_run_that_tells_nobody_looks_at_no_channel(world: World, hook: Receiver) -> None:
    publish(world, "acme/tiny", lambda files: files.pop("README.md"))
    entry = f'url = "webhook+http://127.0.0.1:{hook.port}/"\n{SECRET}allow_private = true'
    configure(world, "acme/tiny", more=told(entry, 'url = "slack://${SLACK_TOKENS}"'))
    assert world.run("run", "--plan").code == 0
    assert world.run("run", "--no-notify").code == 1
    assert hook.posts == []


def test_names_are_looked_up_only_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def resolve(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        raise UnreachableError(f"the host {host!r} does not resolve")

    monkeypatch.setattr("manifestd.notifiers.webhook.resolve", resolve)
    monkeypatch.setattr("manifestd.notifiers.apprise.resolve", resolve)
    config = Config(
        notify=[
            Notify(url="webhook+https://hook.example/", secret="${HOOK}"),
            Notify(url="json://json.example/"),
        ]
    )
    check_notify(config, ENVIRON, look_up=False)
    assert asked == []
    with caplog.at_level(logging.WARNING, logger="manifestd"):
        check_notify(config, ENVIRON)
    assert asked == ["hook.example", "json.example"]
    later = "does not resolve; it will not be told unless that changes"
    assert [record.getMessage() for record in caplog.records] == [
        f"manifestd.toml: notify[0] (webhook+https): the host 'hook.example' {later}",
        f"manifestd.toml: notify[1] (json): the host 'json.example' {later}",
    ]


def test_a_name_that_leads_into_the_house_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "manifestd.notifiers.address.socket.getaddrinfo",
        lambda *_, **__: [(2, 1, 6, "", ("192.168.0.7", 443))],
    )
    config = Config(notify=[Notify(url="webhook+https://jenkins.example/", secret="${HOOK}")])
    with pytest.raises(ConfigError, match=r"notify\[0\].*192\.168\.0\.7, which is private"):
        check_notify(config, ENVIRON)
