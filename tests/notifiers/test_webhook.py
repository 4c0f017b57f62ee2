"""Webhooks are signed, go where they may, and follow nobody elsewhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from manifestd.errors import AccessDeniedError, ConfigError, UndecidedError, UnreachableError
from manifestd.notifiers import address, notifier_for, webhook
from manifestd.notifiers.base import Channel
from tests.contracts.notifier_suite import TOKEN, NotifierSuite, message
from tests.notifiers.receiver import Receiver, make_certificate, receiver

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as state:
        yield state


def channel(state: Receiver, path: str = "/hook", **more: object) -> Channel:
    values: dict[str, object] = {"secret": SECRET, "allow_private": True, **more}
    return Channel(url=f"webhook+http://127.0.0.1:{state.port}{path}", **values)  # type: ignore[arg-type]


class TestWebhook(NotifierSuite):
    name: ClassVar[str] = "webhook"

    @pytest.fixture(autouse=True)
    def _receiver(self, hook: Receiver) -> None:
        self.hook = hook

    def works(self) -> Channel:
        return channel(self.hook)

    def refuses(self) -> Channel:
        self.hook.status = 500
        return channel(self.hook, f"/{TOKEN}?key={TOKEN}", secret=SECRET + TOKEN)

    def nonsense(self) -> list[Channel]:
        good = f"webhook+https://host/{TOKEN}"
        return [
            Channel(url=good),
            Channel(url=good, secret=TOKEN[:8]),
            Channel(url=good, secret=f"whsec_{TOKEN}!"),
            Channel(url=f"webhook+http://host/{TOKEN}", secret=SECRET),
            Channel(url=f"webhook+ftp://host/{TOKEN}", secret=SECRET),
            Channel(url=f"webhook://host/{TOKEN}", secret=SECRET),
            Channel(url=f"webhook+https:///{TOKEN}", secret=SECRET),
            Channel(url=f"webhook+https://host:{TOKEN}/", secret=SECRET),
            Channel(url=f"webhook+https://{TOKEN}@host/", secret=SECRET),
        ]

    def arrived(self) -> list[str]:
        return [body.decode() for _, _, body in self.hook.posts]


def test_the_signature_covers_id_time_and_body(hook: Receiver) -> None:
    sent = message()
    notifier_for(channel(hook, "/a/b?c=d")).tell(sent)
    [(path, headers, body)] = hook.posts
    assert path == "/a/b?c=d"
    assert body == sent.document
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_0123", "1772000000")
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{hook.port}"


def test_a_secret_in_base64_gives_the_signature_of_the_standard_s_own_example() -> None:
    # The example of https://www.standardwebhooks.com's reference libraries.
    key = webhook._key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = webhook.sign(
        key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_makes_the_same_signature(hook: Receiver) -> None:
    notifier_for(channel(hook)).tell(message())
    [(_, headers, body)] = hook.posts
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-binary"],
        input=signed, capture_output=True, check=True,
    )  # fmt: skip
    assert headers["webhook-signature"] == "v1," + base64.b64encode(done.stdout).decode()


def test_a_redirect_is_a_refusal_and_is_not_followed(hook: Receiver) -> None:
    hook.status = 302
    hook.headers["location"] = f"http://127.0.0.1:{hook.port}/elsewhere"
    with pytest.raises(UndecidedError, match="answered 302"):
        notifier_for(channel(hook)).tell(message())
    assert [path for path, _, _ in hook.posts] == ["/hook"]


def test_what_a_variable_holds_cannot_add_a_header_or_a_request(hook: Receiver) -> None:
    notifier_for(channel(hook, "/a b\u00e9?x=y z\x0b")).tell(message())
    [(path, _, _)] = hook.posts
    assert path == "/a%20b%C3%A9?x=y%20z%0B"


def test_a_private_address_needs_leave(hook: Receiver) -> None:
    url = f"webhook+https://localhost:{hook.port}/"
    with pytest.raises(AccessDeniedError, match="private") as caught:
        notifier_for(Channel(url=url, secret=SECRET)).tell(message())
    assert "allow_private" in str(caught.value.hint)
    assert hook.posts == []


def test_nobody_listening_is_out_of_reach(hook: Receiver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"webhook+http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(UnreachableError, match="out of reach"):
            notifier_for(Channel(url=url, secret=SECRET, allow_private=True)).tell(message())


def test_a_host_that_does_not_resolve_is_out_of_reach() -> None:
    for host in ("does-not-exist.invalid", "a" * 70 + ".invalid"):
        found = notifier_for(Channel(url=f"webhook+https://{host}/", secret=SECRET))
        with pytest.raises(UnreachableError, match="does not resolve"):
            found.tell(message())


def test_a_server_that_drips_its_answer_is_cut_off(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "SECONDS", 0.5)
    hook.drip = True
    start = time.monotonic()
    with pytest.raises(UndecidedError):
        notifier_for(channel(hook)).tell(message())
    assert time.monotonic() - start < 5


def test_tls_is_checked_against_the_name_and_the_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "server.pem"
    make_certificate(certificate, "localhost")
    with receiver(certificate) as state:
        url = f"webhook+https://localhost:{state.port}/"
        notifier = notifier_for(Channel(url=url, secret=SECRET, allow_private=True))
        with pytest.raises(UnreachableError, match="encrypted"):
            notifier.tell(message())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        notifier.tell(message())
        assert len(state.posts) == 1
        other = url.replace("localhost", "127.0.0.1")
        with pytest.raises(UnreachableError, match="encrypted"):
            notifier_for(Channel(url=other, secret=SECRET, allow_private=True)).tell(message())
    assert ssl.get_default_verify_paths().cafile == str(certificate)


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254", "169.254.170.2", "fe80::1", "fd00:ec2::254", "100.100.100.200",
        "192.0.0.192", "168.63.129.16", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::", "fd20:ce::254", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "240.0.0.1",
    ],
)  # fmt: skip
def test_metadata_and_link_local_addresses_are_refused_whatever_is_allowed(text: str) -> None:
    with pytest.raises(AccessDeniedError):
        address.refuse(ipaddress.ip_address(text), "host", allow_private=True)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "fc00::1", "100.64.0.1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)  # fmt: skip
def test_private_addresses_pass_only_where_they_are_allowed(text: str) -> None:
    found = ipaddress.ip_address(text)
    address.refuse(found, "host", allow_private=True)
    with pytest.raises(AccessDeniedError, match="private"):
        address.refuse(found, "host", allow_private=False)


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_of_the_world_pass(text: str) -> None:
    address.refuse(ipaddress.ip_address(text), "host", allow_private=False)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_odd_spellings_of_loopback_are_seen_through(host: str) -> None:
    found = notifier_for(Channel(url=f"webhook+https://{host}/", secret=SECRET))
    with pytest.raises((AccessDeniedError, UnreachableError)):
        found.tell(message())


def test_a_webhook_without_encryption_stays_within_the_house() -> None:
    with pytest.raises(ConfigError, match="private"):
        notifier_for(Channel(url="webhook+http://example.com/", secret=SECRET))
    found = notifier_for(Channel(url="webhook+http://8.8.8.8/", secret=SECRET, allow_private=True))
    with pytest.raises(UndecidedError, match="encrypted"):
        found.tell(message())
