"""What the Hub refuses, how it is told apart, and where the token does not go."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from manifestd.errors import (
    AccessDeniedError,
    ConfigError,
    ManifestdError,
    RateLimitedError,
    SourceNotFoundError,
    UnreachableError,
    UnreadableError,
)
from manifestd.loopback.hub import LoopbackHub
from manifestd.model.entry import Entry
from manifestd.sources.base import SourceSettings
from manifestd.sources.hub import HubSource
from manifestd.sources.hub_client import HubClient, endpoint_from
from manifestd.sources.hub_errors import Asked, refusal
from tests.contracts.source_suite import content, everything
from tests.loopback.hub_support import FILES, Naps, source_over

TOKEN = "hf_averysecrettokenindeed"


def said(error: ManifestdError) -> str:
    return " | ".join(filter(None, (error.what, error.why, error.hint, repr(error.facts))))


def failure(source: HubSource) -> ManifestdError:
    with pytest.raises(ManifestdError) as caught:
        source.resolve()
    return caught.value


def test_missing_and_private_are_not_told_apart_because_the_hub_does_not(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/private", FILES, private=True)
    for name in ("org/missing", "org/private"):
        error = failure(source_over(hub, name))
        assert isinstance(error, SourceNotFoundError)
        assert name in error.what
        assert "without a token the Hub does not tell" in said(error)
        assert "set HF_TOKEN" in said(error)
    hub.add_token(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    error = failure(source_over(hub, "org/private"))
    assert isinstance(error, SourceNotFoundError)
    assert "the token in use cannot see it" in said(error)
    assert TOKEN not in said(error)
    hub.add_token(TOKEN, "org/private")
    assert source_over(hub, "org/private").resolve().facts["private"] is True


def test_a_missing_revision_is_named(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES)
    error = failure(source_over(hub, "org/name@v9"))
    assert isinstance(error, SourceNotFoundError)
    assert "no revision 'v9'" in error.what
    assert hub.endpoint in (error.hint or "")


def test_a_repository_that_is_missing_as_an_entry_is_still_named() -> None:
    asked = Asked(endpoint="http://hub", repo="org/name", kind="dataset", revision="main")
    answer = httpx2.Response(
        404,
        headers={"x-error-code": "EntryNotFound"},
        request=httpx2.Request("GET", "http://hub/api/datasets/org/name"),
    )
    assert refusal(answer, asked).what == "http://hub knows no dataset org/name"


def test_a_disabled_repository_is_denied(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", FILES, disabled=True)
    error = failure(source_over(hub))
    assert isinstance(error, AccessDeniedError)
    assert "disabled" in error.what


def test_a_token_that_is_not_valid_is_said_and_not_shown(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", FILES)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    error = failure(source_over(hub))
    assert isinstance(error, AccessDeniedError)
    assert "does not accept the token" in error.what
    assert TOKEN not in said(error)


def test_the_token_file_is_used_like_the_variable(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    hub.add_repo("org/name", FILES, private=True)
    hub.add_token(TOKEN, "org/name")
    (tmp_path / "token").write_text(TOKEN + "\n")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert source_over(hub).resolve().name == "org/name"


def test_files_of_a_gated_repository_are_denied_with_where_to_ask(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", FILES, gated="auto")
    hub.add_token(TOKEN)
    for token, words in ((None, "no token is in use"), (TOKEN, "is not on the list")):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        source = source_over(hub)
        resolved = source.resolve()
        entries, _ = everything(source, resolved)
        with pytest.raises(AccessDeniedError) as caught:
            content(source, resolved, entries["config.json"])
        assert "gated" in caught.value.what
        assert words in (caught.value.why or "")
        assert f"{hub.endpoint}/org/name" in (caught.value.hint or "")
    hub.add_token(TOKEN, "org/name")
    assert content(source, resolved, entries["config.json"]) == FILES["config.json"]


@pytest.mark.parametrize("status", ["429", "500", "502", "503", "504"])
@pytest.mark.parametrize("where", ["/api/models/org/name$", "/tree/"])
def test_a_storm_on_the_api_is_waited_out(
    hub: LoopbackHub, naps: Naps, status: str, where: str
) -> None:
    hub.rate_reset = 2
    hub.add_repo("org/name", FILES)
    hub.faults.add(where, f"status:{status}", times=4)
    source = source_over(hub, naps=naps)
    entries, problems = everything(source, source.resolve())
    assert entries.keys() == FILES.keys()
    assert problems == []
    # A 429 states by RateLimit when it ends; else the waits grow.
    assert naps.taken == ([2, 2, 2, 4] if status == "429" else [0.5, 1, 2, 4])


def test_retry_after_is_obeyed_up_to_the_budget(hub: LoopbackHub, naps: Naps) -> None:
    hub.add_repo("org/name", FILES)
    hub.faults.add("/api/models/org/name", "status:429:17")
    assert source_over(hub, naps=naps).resolve().name == "org/name"
    assert naps.taken == [17]
    hub.faults.add("/api/models/org/name", "status:429:3600")
    error = failure(source_over(hub, naps=naps))
    assert isinstance(error, RateLimitedError)
    assert error.facts["retryAfter"] == 3600
    assert naps.taken == [17], "nothing is gained by waiting for less than was asked"


def test_a_hub_that_stays_down_ends_with_the_budget(hub: LoopbackHub, naps: Naps) -> None:
    hub.faults.add("/api/", "status:503", times=None)
    error = failure(source_over(hub, naps=naps, retry_budget=30))
    assert isinstance(error, UnreachableError)
    assert "503" in error.what
    assert sum(naps.taken) <= 30
    assert error.facts["tries"] == len(naps.taken) + 1


@pytest.mark.parametrize("kind", ["cut:10", "reset:0", "stall:5"])
def test_a_broken_answer_of_the_api_is_asked_for_again(
    hub: LoopbackHub, naps: Naps, kind: str
) -> None:
    commit = hub.add_repo("org/name", FILES)
    hub.faults.add("/api/models/org/name", kind, times=2)
    assert source_over(hub, naps=naps, read_timeout=0.3).resolve().revision == commit


def test_a_host_that_is_not_there_is_given_up_soon(naps: Naps) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        source = source_over(endpoint, naps=naps)
        error = failure(source)
    assert isinstance(error, UnreachableError)
    assert "no connection to 127.0.0.1" in error.what
    assert "HF_ENDPOINT" in (error.hint or "")
    assert sum(naps.taken) < 5


def test_offline_mode_sends_nothing(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    hub.add_repo("org/name", FILES)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    error = failure(source_over(hub))
    assert isinstance(error, UnreachableError)
    assert "HF_HUB_OFFLINE" in error.what
    assert hub.requests == []


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://hub", "https://", "http://h/?q=1"])
def test_an_endpoint_that_is_no_address_is_a_configuration_error(endpoint: str) -> None:
    with pytest.raises(ConfigError):
        endpoint_from({"HF_ENDPOINT": endpoint})


def test_the_endpoint_is_the_usual_one_unless_the_environment_says_otherwise() -> None:
    assert endpoint_from({}) == endpoint_from({"HF_ENDPOINT": ""}) == "https://huggingface.co"
    assert endpoint_from({"HF_ENDPOINT": "https://hub.corp/hf/"}) == "https://hub.corp/hf"


# -- where the token goes --------------------------------------------------------------------


def test_the_token_goes_to_the_hub_and_never_to_the_store(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", FILES, private=True)
    hub.add_token(TOKEN, "org/name")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    source = source_over(hub)
    resolved = source.resolve()
    entries, _ = everything(source, resolved)
    for path, entry in entries.items():
        assert content(source, resolved, entry) == FILES[path]
    at_hub = [e.headers for e in hub.requests if e.origin == "hub"]
    at_store = [e.headers for e in hub.requests if e.origin == "cdn"]
    assert len(at_store) == 2
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for headers in at_hub)
    assert all(TOKEN not in repr(headers) for headers in at_store)


def test_no_redirect_and_no_next_page_takes_the_token_elsewhere(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/name", FILES)
    hub.add_token(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with LoopbackHub() as thief:
        thief.add_repo("org/name", FILES)
        for where, fault in (
            ("/api/models/org/name$", f"redirect:{thief.endpoint}/api/models/org/name"),
            ("/tree/", f"redirect:{thief.endpoint}/api/models/org/name/tree/main"),
            ("/tree/", f"next:{thief.endpoint}/api/models/org/name/tree/main"),
            # Another name for the same machine is another origin as well.
            ("/tree/", f"next:{thief.endpoint.replace('127.0.0.1', 'localhost')}/x"),
            ("/tree/", f"next:{hub.endpoint.replace('127.0.0.1', 'localhost')}/x"),
        ):
            hub.faults.clear()
            hub.faults.add(where, fault)
            source = source_over(hub)
            with pytest.raises(UnreachableError):
                everything(source, source.resolve())
        hub.faults.clear()
        source = source_over(hub)
        resolved = source.resolve()
        hub.faults.add("resolve", f"redirect:{thief.endpoint}/org/name/resolve/main/config.json")
        with pytest.raises(UnreadableError, match="of which commit"):
            content(source, resolved, Entry(path="config.json", size=19))
        assert thief.requests, "the redirects were followed"
        assert all(TOKEN not in repr(exchange.headers) for exchange in thief.requests)


@pytest.mark.parametrize(
    ("url", "keeps"),
    [
        ("http://hub.corp/api/models/x", True),
        ("http://hub.corp:80/x", True),
        ("http://HUB.corp/x", True),
        # The HTTP library itself would keep the token on this one, as an upgrade.
        ("https://hub.corp/x", False),
        ("http://hub.corp:8080/x", False),
        ("http://hub.corp.evil/x", False),
        ("http://cdn.hub.corp/x", False),
    ],
)
def test_every_request_on_the_wire_passes_the_guard(url: str, keeps: bool) -> None:
    client = HubClient("http://hub.corp", SourceSettings())
    request = httpx2.Request("GET", url, headers={"Authorization": "Bearer x", "Cookie": "y"})
    client.guard(request)
    assert ("authorization" in request.headers) is keeps
    assert ("cookie" in request.headers) is keeps
    assert client.requests == 1


def test_the_http_librarys_log_shows_no_signed_query(
    hub: LoopbackHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add_repo("org/name", FILES)
    source = source_over(hub)
    resolved = source.resolve()
    entries, _ = everything(source, resolved)
    with caplog.at_level("INFO"):
        content(source, resolved, entries["model.safetensors"])
    assert "/objects/" in caplog.text
    assert "Signature" not in caplog.text


def test_errors_carry_neither_signed_queries_nor_credentials_of_the_endpoint(
    hub: LoopbackHub, naps: Naps
) -> None:
    hub.add_repo("org/name", FILES)
    endpoint = hub.endpoint.replace("//", "//user:password@")
    source = source_over(endpoint, "org/missing", naps=naps)
    assert "password" not in said(failure(source))
    source = source_over(hub)
    resolved = source.resolve()
    entries, _ = everything(source, resolved)
    for fault in ("expired-link", "cut:0", "status:418", "status:503"):
        hub.faults.clear()
        hub.faults.add("cdn", fault)
        with pytest.raises(ManifestdError) as caught:
            content(source, resolved, entries["model.safetensors"])
        assert "Signature" not in said(caught.value)


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, naps: Naps) -> None:
    import manifestd.sources.hub_client

    monkeypatch.setattr(manifestd.sources.hub_client, "MAX_DOCUMENT", 100_000)
    listener = socket.create_server(("127.0.0.1", 0))

    def pour() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            try:
                while True:
                    connection.sendall(b"[" * 65536)
            except OSError:
                return

    thread = Thread(target=pour)
    thread.start()
    source = source_over(f"http://127.0.0.1:{listener.getsockname()[1]}", naps=naps)
    assert "without end" in failure(source).what
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://[", "http://[::1", "http://h:abc", "http://h:99999", "http://h\n.x", "http://[2J",
        f"http://{'a' * 300}.example",
    ],
)  # fmt: skip
def test_an_endpoint_that_no_library_can_read_is_a_wrong_setting(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        endpoint_from({"HF_ENDPOINT": endpoint})


@pytest.mark.parametrize("proxy", ["http://h:abc", "foo://u:secret@h"])
def test_a_proxy_that_cannot_be_used_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    client = HubClient("http://hub.invalid", SourceSettings())
    with pytest.raises(ConfigError, match="proxy") as caught:
        client.open("http://hub.invalid/x", {})
    assert "secret" not in str(vars(caught.value))


def test_a_token_that_is_none_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "s\u00e9cret")
    client = HubClient("http://hub.invalid", SourceSettings())
    with pytest.raises(AccessDeniedError, match="no token has") as caught:
        client.headers()
    assert "cret" not in str(vars(caught.value))
