"""Logging in to registries, broken connections, redirects and lies, over a small loopback registry."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from manifestd.errors import (
    AccessDeniedError,
    ChangedError,
    ConfigError,
    EmptySourceError,
    MalformedError,
    ManifestdError,
    MismatchError,
    SourceNotFoundError,
    UnreachableError,
    UnreadableError,
    UsageError,
)
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import parse_oci
from manifestd.sources.base import Resolved, Shared, SourceSettings
from manifestd.sources.oci import OciSource
from manifestd.sources.oci_auth import challenge_in
from manifestd.sources.oci_credentials import DOCKER_HUB, credentials_for
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_store import get_manifest
from tests.contracts.source_suite import content
from tests.support.registry import OCI_INDEX, sha256
from tests.support.registry_loopback import (
    PASSWORD,
    TOKEN,
    USER,
    SmallRegistry,
    small_registry,
)

FILE = bytes(range(256)) * 1000
RAW = "application/vnd.cncf.model.weight.v1.raw"
AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        layer = found.add_blob(FILE, RAW, org_cncf_model_filepath="w.bin")
        found.add("v1", [layer])
        yield found


_made: list[OciSource] = []


@pytest.fixture(autouse=True)
def _all_sources_are_closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def source_over(
    registry: SmallRegistry, home: Path | None = None, reference: str = "acme/tiny:v1", **options: Any
) -> OciSource:  # fmt: skip
    environ = {"PATH": os.environ["PATH"]} | ({"DOCKER_CONFIG": str(home)} if home else {})
    settings = SourceSettings(
        connect_timeout=5, read_timeout=5, retry_budget=options.pop("budget", 5.0), options=options
    )
    where = parse_oci(f"oci://{registry.host}/{reference}")
    _made.append(OciSource(where, settings, environ=environ, sleep=lambda _: None))
    return _made[-1]


def log_in(home: Path, document: Mapping[str, Any]) -> Path:
    home.mkdir(exist_ok=True)
    (home / "config.json").write_text(json.dumps(document))
    return home


def only(source: OciSource) -> tuple[Resolved, Entry]:
    resolved = source.resolve()
    (entry,) = source.list(resolved)
    assert isinstance(entry, Entry)
    return resolved, entry


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_the_password_of_docker_login_opens_the_registry(
    registry: SmallRegistry, tmp_path: Path, auth: Any
) -> None:
    registry.auth = auth
    home = log_in(tmp_path, {"auths": {f"https://{registry.host}/v1/": {"auth": AUTH}}})
    source = source_over(registry, home)
    resolved, entry = only(source)
    assert content(source, resolved, entry) == FILE
    source.close()
    # Logged in once; the password went to the token service and nowhere else.
    with_password = {path.partition("?")[0] for _, path, headers in registry.seen
                     if headers.get("Authorization") == f"Basic {AUTH}"}  # fmt: skip
    assert ("/token" in with_password) == (auth == "token")
    assert (len(with_password) == 1) == (auth == "token")


def test_a_token_for_anyone_is_fetched_once(registry: SmallRegistry) -> None:
    registry.auth = "anonymous"
    source = source_over(registry)
    resolved, entry = only(source)
    assert content(source, resolved, entry) == FILE
    source.close()
    asked = [path for _, path, _ in registry.seen if path.startswith("/token")]
    assert asked == ["/token?service=here&scope=repository%3Aacme%2Ftiny%3Apull"]


def test_an_identity_token_is_exchanged(registry: SmallRegistry, tmp_path: Path) -> None:
    registry.auth = "token"
    home = log_in(tmp_path, {"auths": {registry.host: {"identitytoken": "an-identity"}}})
    only(source_over(registry, home))
    assert ("POST", "/token") in {(method, path) for method, path, _ in registry.seen}


def test_a_helper_is_asked_when_the_configuration_names_it(
    registry: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.auth = "basic"
    programs = tmp_path / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-here"
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    helper.write_text(
        f"#!/bin/sh\ntest \"$1\" = get && cat > '{tmp_path}/asked'\necho '{answer}'\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    only(source_over(registry, log_in(tmp_path / "a", {"credHelpers": {registry.host: "here"}})))
    assert (tmp_path / "asked").read_text() == registry.host
    (tmp_path / "asked").unlink()
    stored = {"auths": {registry.host: {}}, "credsStore": "here"}
    only(source_over(registry, log_in(tmp_path / "b", stored)))
    assert (tmp_path / "asked").exists()
    (tmp_path / "asked").unlink()
    other = {"auths": {"elsewhere.example": {}}, "credsStore": "here"}
    with pytest.raises(AccessDeniedError):
        source_over(registry, log_in(tmp_path / "c", other)).resolve()
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("helper", "what"),
    [
        ("exit 1", "failed"), ("echo not json", "does not answer"), ("echo '[]'", "does not answer"),
    ],
)  # fmt: skip
def test_a_helper_that_fails_is_named(
    registry: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: str, what: str
) -> None:
    registry.auth = "basic"
    program = tmp_path / "docker-credential-bad"
    program.write_text(f"#!/bin/sh\n{helper}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    home = log_in(tmp_path, {"credHelpers": {registry.host: "bad"}})
    with pytest.raises(AccessDeniedError, match=what):
        source_over(registry, home).resolve()


def test_without_a_password_it_is_said_how_to_log_in(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    for auth in ("basic", "token"):
        registry.auth = auth
        with pytest.raises(AccessDeniedError) as caught:
            source_over(registry).resolve()
        assert f"docker login {registry.host}" in (caught.value.hint or "")
    wrong = base64.b64encode(b"alice:guess").decode()
    home = log_in(tmp_path, {"auths": {registry.host: {"auth": wrong}}})
    with pytest.raises(AccessDeniedError) as caught:
        source_over(registry, home).resolve()
    assert wrong not in str(vars(caught.value))


def test_impossible_docker_configurations_are_refused(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"auths": {"h": {"auth": "***"}}}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ConfigError):
            credentials_for("h", {"DOCKER_CONFIG": str(tmp_path)})
    log_in(tmp_path, {"auths": {"h": {"registrytoken": "wonder\nland"}}})
    with pytest.raises(ConfigError, match="no token") as caught:
        credentials_for("h", {"DOCKER_CONFIG": str(tmp_path)})
    assert "wonder" not in str(vars(caught.value))
    log_in(tmp_path, {"credHelpers": {"h": "../../bin/sh"}})
    with pytest.raises(ConfigError, match="impossible helper"):
        credentials_for("h", {"DOCKER_CONFIG": str(tmp_path)})
    log_in(tmp_path, {"auths": {DOCKER_HUB: {"auth": AUTH}}})
    found = credentials_for(DOCKER_HUB, {"DOCKER_CONFIG": str(tmp_path)})
    assert found is not None
    assert (found.user, found.password) == (USER, PASSWORD)
    assert PASSWORD not in repr(found)
    assert credentials_for("other", {"HOME": str(tmp_path)}) is None


def test_bearer_is_preferred_and_nonsense_is_no_challenge() -> None:
    found = challenge_in(['Basic realm="x"', 'Bearer realm="https://t/",scope="a,b",error="no"'])
    assert found is not None
    assert (found.scheme, found.realm, found.scope) == ("bearer", "https://t/", "a,b")
    assert challenge_in(["Negotiate abc", ""]) is None


def test_credentials_do_not_follow_a_redirect(registry: SmallRegistry, tmp_path: Path) -> None:
    registry.auth = "token"
    home = log_in(tmp_path, {"auths": {registry.host: {"auth": AUTH}}})
    with small_registry() as store:
        store.blobs = registry.blobs
        registry.elsewhere = f"http://{store.host}"
        source = source_over(registry, home)
        resolved, entry = only(source)
        assert content(source, resolved, entry) == FILE
        assert content(source, resolved, entry, 1000) == FILE[1000:]
        source.close()
        assert store.seen
        assert not any("Authorization" in headers for _, _, headers in store.seen)
    assert any(headers.get("Authorization") == f"Bearer {TOKEN}" for _, _, headers in registry.seen)


def test_plain_http_is_for_this_machine_unless_it_is_allowed() -> None:
    for host, base in {
        "localhost:5000": "http://localhost:5000", "127.0.0.1:5000": "http://127.0.0.1:5000",
        "[::1]:5000": "http://[::1]:5000", "registry.example:5000": "https://registry.example:5000",
        "docker.io": "https://registry-1.docker.io", "127.0.0.1.example": "https://127.0.0.1.example",
    }.items():  # fmt: skip
        reference = parse_oci(f"oci://{host}/gpt2:v1")
        assert Registry(reference, SourceSettings(), environ={}).base == base
        allowed = SourceSettings(options={"plainHttp": True})
        assert Registry(reference, allowed, environ={}).base.startswith("http://")
    hub = Registry(parse_oci("oci://docker.io/gpt2:v1"), SourceSettings(), environ={})
    assert hub.url("tags") == "https://registry-1.docker.io/v2/library/gpt2/tags"


@pytest.mark.parametrize(
    "text", ["oci://me:secret@host/a", "oci://h:99999/a", "oci://h h/a", "oci:///a", "oci://h"]
)
def test_impossible_hosts_are_refused_and_passwords_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_oci(text)
    assert "secret" not in str(vars(caught.value))


@pytest.mark.parametrize(
    "place", ["http://[", "ftp://x/", "http://h:99999/", "//[::1/x", "file:///etc"]
)
def test_redirects_and_realms_to_nowhere_are_refused(
    registry: SmallRegistry, place: str
) -> None:  # fmt: skip
    registry.elsewhere = place
    source = source_over(registry)
    _, entry = only(source)
    assert entry.problem is not None
    assert entry.problem.code == "source-unreachable"
    registry.auth, registry.realm = "token", place
    with pytest.raises(AccessDeniedError, match="wants a log-in"):
        source_over(registry).resolve()


def test_a_password_is_not_sent_to_a_token_service_over_plain_http() -> None:
    registry = Registry(parse_oci("oci://registry.example/a:v"), SourceSettings(), environ={})
    challenge = challenge_in(['Bearer realm="http://127.0.0.1:1/token"'])
    assert challenge is not None
    with pytest.raises(AccessDeniedError, match="wants a log-in"):
        registry._token(challenge, None)


def test_a_registry_of_this_machine_sends_nobody_to_another_over_plain_http(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    home = log_in(tmp_path, {"auths": {registry.host: {"auth": AUTH}}})
    registry.auth, registry.realm = "token", "http://registry.invalid/token"
    with pytest.raises(AccessDeniedError, match="wants a log-in") as caught:
        source_over(registry, home).resolve()
    assert caught.value.why == "credentials do not go over plain http"
    made = Registry(parse_oci(f"oci://{registry.host}/a:v"), SourceSettings(), environ={})
    with pytest.raises(UnreachableError, match="sends requests on"):
        made.following(made.base, "http://registry.invalid/blob")
    assert made.following(made.base, "http://localhost:1/blob") == "http://localhost:1/blob"
    allowed = SourceSettings(options={"plainHttp": True})
    made = Registry(parse_oci("oci://registry.example/a:v"), allowed, environ={})
    assert made.following(made.base, "http://other.example/blob").startswith("http://other")


def test_a_cut_connection_is_resumed_where_it_broke(registry: SmallRegistry) -> None:
    tar = FILE * 2
    kind = "application/octet-stream"
    registry.add("v2", [registry.add_blob(tar, kind, org_opencontainers_image_title="w")])
    source = source_over(registry, reference="acme/tiny:v2")
    _, entry = only(source)
    registry.cut = 100_000
    from manifestd.reading.measure import RetryBudget, measure
    from manifestd.reading.wants import Wants

    resolved = source.resolve()
    found = measure(
        lambda offset: source.open(resolved, entry, offset), "w", entry.size, Wants(),
        budget=RetryBudget(seconds=5), sleep=lambda _: None,
    )  # fmt: skip
    assert found.digests["sha256"] == entry.digests["sha256"]
    assert found.resumed == len(tar) // registry.cut
    source.close()


def test_a_registry_without_ranges_is_read_from_the_beginning(registry: SmallRegistry) -> None:
    registry.ranges = False
    source = source_over(registry)
    resolved, entry = only(source)
    assert content(source, resolved, entry, 1234) == FILE[1234:]
    source.close()


def test_a_busy_registry_is_asked_again_and_a_hopeless_one_given_up(
    registry: SmallRegistry,
) -> None:
    registry.busy = 3
    shared = Shared()
    source = source_over(registry)
    source.shared = shared
    only(source)
    source.close()
    shared.close()
    registry.busy = 1000
    with pytest.raises(UnreachableError, match="503"):
        source_over(registry, budget=0.2).resolve()
    gone = OciSource(
        parse_oci("oci://127.0.0.1:1/acme/tiny:v1"), SourceSettings(retry_budget=0), environ={}
    )
    with pytest.raises(UnreachableError):
        gone.resolve()


def test_a_missing_tag_is_not_found_with_the_registrys_own_words(registry: SmallRegistry) -> None:
    with pytest.raises(SourceNotFoundError) as caught:
        source_over(registry, reference="acme/tiny:v9").resolve()
    assert caught.value.why == "MANIFEST_UNKNOWN: no such thing"


def test_a_manifest_with_another_digest_is_refused(registry: SmallRegistry) -> None:
    digest = registry.add("v1", [])
    data, kind = registry.manifests[digest]
    registry.manifests[digest] = (data + b" ", kind)
    with pytest.raises(MismatchError, match="for the manifest"):
        source_over(registry, reference=f"acme/tiny@{digest}").resolve()


def test_a_manifest_named_by_sha512_is_held_against_that(registry: SmallRegistry) -> None:
    digest = registry.add("v1", [registry.add_blob(FILE, RAW, org_cncf_model_filepath="w.bin")])
    data, kind = registry.manifests[digest]
    name = "sha512:" + hashlib.sha512(data).hexdigest()
    registry.manifests[name] = (data, kind)
    child = {"mediaType": kind, "digest": name, "size": len(data)}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
    pinned = f"acme/tiny@{registry.add_document('all', index, OCI_INDEX)}"
    assert source_over(registry, reference=pinned).resolve().revision == digest
    registry.manifests[name] = registry.manifests[registry.add("v2", [])]
    with pytest.raises(MismatchError, match="for the manifest sha512"):
        source_over(registry, reference=pinned).resolve()
    made = Registry(parse_oci(f"oci://{registry.host}/acme/tiny:v1"), SourceSettings(), environ={})
    with pytest.raises(MismatchError, match="for the manifest sha512"):
        get_manifest(made, name)
    made.close()


def test_a_size_that_is_not_the_blobs_is_a_mismatch(registry: SmallRegistry) -> None:
    layer = registry.add_blob(FILE, RAW, org_cncf_model_filepath="w.bin")
    registry.add("v2", [layer | {"size": len(FILE) - 1}])
    source = source_over(registry, reference="acme/tiny:v2")
    resolved, entry = only(source)
    assert entry.problem is not None
    assert entry.problem.severity == "mismatch"
    for offset in (0, 10):
        with pytest.raises(MismatchError):
            content(source, resolved, entry, offset)
    source.close()


def test_a_blob_that_is_gone_is_a_problem_of_its_file(registry: SmallRegistry) -> None:
    registry.blobs.pop(sha256(FILE))
    _, entry = only(source_over(registry))
    assert entry.problem is not None
    assert (entry.problem.code, entry.problem.severity) == ("source-not-found", "error")


def test_an_entry_of_another_manifest_is_not_opened(registry: SmallRegistry) -> None:
    source = source_over(registry)
    resolved, entry = only(source)
    other = Entry(path="w.bin", size=entry.size, identity={"layer": sha256(b"other")})
    with pytest.raises(ChangedError):
        source.open(resolved, other)
    source.close()


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"schemaVersion": 2}, MalformedError),
        ({"schemaVersion": 2, "layers": [], "manifests": []}, MalformedError),
        ({"schemaVersion": 2, "layers": [{"digest": "sha256:xyz", "size": 1}]}, MalformedError),
        ({"schemaVersion": 2, "layers": [{"digest": sha256(b""), "size": -1}]}, MalformedError),
        ({"schemaVersion": 2, "manifests": []}, MalformedError),  # said to be an image manifest
        ({"schemaVersion": 1, "fsLayers": []}, UnreadableError),
        ([1, 2], MalformedError),
    ],
)
def test_documents_that_are_no_manifest_are_refused(
    registry: SmallRegistry, document: Any, error: type[ManifestdError]
) -> None:
    registry.add_document("bad", document)
    with pytest.raises(error):
        source_over(registry, reference="acme/tiny:bad").resolve()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\0b"])
def test_names_that_lead_out_of_the_artifact_are_refused(
    registry: SmallRegistry, path: str
) -> None:
    unsafe = registry.add_blob(b"x", RAW, org_cncf_model_filepath=path)
    registry.add("v2", [unsafe, registry.add_blob(b"y", RAW, org_cncf_model_filepath="y")])
    source = source_over(registry, reference="acme/tiny:v2")
    problem, entry = source.list(source.resolve())
    assert isinstance(problem, Problem)
    assert (problem.code, problem.severity) == ("unsafe-path", "error")
    assert isinstance(entry, Entry)
    # Where nothing else is left, that is the reason, not that the artifact is empty.
    registry.add("v3", [unsafe])
    alone = source_over(registry, reference="acme/tiny:v3")
    with pytest.raises(EmptySourceError) as caught:
        list(alone.list(alone.resolve()))
    assert "leads out" in str(caught.value.why)


def test_a_name_that_stands_twice_counts_once_and_is_said(registry: SmallRegistry) -> None:
    layers = [registry.add_blob(data, RAW, org_cncf_model_filepath="a") for data in (b"1", b"2")]
    registry.add("v2", layers)
    source = source_over(registry, reference="acme/tiny:v2")
    first, second = source.list(source.resolve())
    assert isinstance(first, Entry)
    assert first.digests["sha256"] == sha256(b"1").removeprefix("sha256:")
    assert isinstance(second, Problem)
    assert (second.code, second.severity) == ("duplicate-path", "error")
