"""Secrets leave a text in one place, whatever they are wrapped in; the rest of it stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.redact import HIDDEN, redact

# Put together here, so that no scanner takes this file for a leak.
HUB = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345"
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "a" * 36
GITLAB = "glpat-" + "a" * 20
SLACK = "xoxb-" + "123456789012-abcdef"


@pytest.mark.parametrize("secret", [HUB, AWS, GITHUB, GITLAB, SLACK])
@pytest.mark.parametrize(
    "around",
    ["{}", "token {} refused", '"{}"', "({})", "https://example.org/{}/x", "a={},b", "\n{}\n"],
)
def test_a_token_is_hidden_wherever_it_stands(secret: str, around: str) -> None:
    shown = redact(around.format(secret))
    assert secret not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Bearer {HUB}",
        "authorization: Basic dXNlcjpwYXNz",
        "AUTHORIZATION=abc.def.ghi",
        '{"authorization": "Bearer opaque-value"}',
        "{'Authorization': 'Bearer opaque-value'}",
        "x-amz-security-token: IQoJb3JpZ2luX2VjEXAMPLE",
        "Cookie: session=abcdef",
    ],
)
def test_a_header_keeps_its_name_and_loses_its_value(header: str) -> None:
    shown = redact(header)
    for value in (HUB, "dXNlcjpwYXNz", "abc.def.ghi", "opaque-value", "IQoJb3", "abcdef"):
        assert value not in shown
    assert (
        shown.lower().lstrip("{\"'").startswith(("authorization", "x-amz-security-token", "cookie"))
    )


def test_a_signed_query_goes_and_the_path_stays() -> None:
    url = "https://cdn.example.org/repo/model.bin?X-Amz-Signature=abc&Expires=9#x"
    assert redact(f"GET {url} failed") == (
        f"GET https://cdn.example.org/repo/model.bin?{HIDDEN} failed"
    )


def test_user_and_password_go_from_any_kind_of_url() -> None:
    for scheme in ("https", "s3", "slack", "postgresql+psycopg"):
        shown = redact(f"{scheme}://user:secret@host/path")
        assert shown == f"{scheme}://{HIDDEN}@host/path"


def test_a_repository_without_an_organisation_is_no_user() -> None:
    for text in ("hf://gpt2@main", "run `x hf-cache://gpt2@v1 --all`", "'hf://{name}@main'"):
        assert redact(text) == text
    assert redact("hf://user:secret@host") == f"hf://{HIDDEN}@host"
    assert redact(f"hf://{HUB}@main") == f"hf://{HIDDEN}@main"
    assert redact("https://token@hub.example/gpt2") == f"https://{HIDDEN}@hub.example/gpt2"


def test_every_url_of_a_text_is_cleaned() -> None:
    shown = redact("https://a.example/x?s=1 then https://u:p@b.example/y?s=2")
    assert shown == f"https://a.example/x?{HIDDEN} then https://{HIDDEN}@b.example/y?{HIDDEN}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "config.json: size is 3 bytes, expected 2",
        "hf://openai-community/gpt2@main",
        "no 'hf://gpt2@main', and no 'hf-cache://gpt2@refs/pr/1'",
        'sides = { hub = "hf://{name}@main" }',
        "https://huggingface.co/gpt2/resolve/main/config.json",
        "the hf_hub library",
        "what is AKIA?",
        "mail alice@example.org",
        "sha256:" + "0" * 64,
    ],
)
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(st.text(), st.text())
def test_no_text_around_a_token_saves_it(before: str, after: str) -> None:
    # A word character before it makes it part of another word; everything else must not.
    assert HUB not in redact(f"{before} {HUB} {after}")


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "https://user:pa@SECRET@host/x",
        "https://user:p'SECRET@host/x",
        "['https://host/','https://user:SECRET@host/x']",
        "https://user:pa@host,https://user:SECRET@host/x",
        "hf://gpt2@main,https://user:SECRET@host/x",
        "hf://user:SECRET@host/x",
        "hf://gpt2@SECRET@host/x",
        "Authorization: Token SECRET",
        "Authorization: AWS4-HMAC-SHA256 Credential=x/y, SignedHeaders=host, Signature=SECRET",
        "{b'Authorization': b'Bearer SECRET'}",
        "[('authorization', 'Bearer SECRET')]",
        "Cookie: first=1; second=SECRET",
        "Invalid header value b'Bearer SECRET12345678\\n'",
        "Invalid header value b'SECRET\\nx'",
        "Illegal header value b'SECRET '",
        "private-token: SECRET",
        "exceeded with url: /a/b?X-Amz-Credential=a&X-Amz-Signature=SECRET (Caused by",
        "https://host/back#access_token=SECRET",
        "https://hooks.slack.com/services/T0/B0/SECRET",
        "hf_oauth_SECRETSECRET",
        "name_hf_SECRETSECRET",
        "github_pat_SECRETSECRETSECRETSECRET",
        "eyJhbGciOiJub25lIn0.eyJSECRET.SECRET",
        "secret_access_key = SECRET",
        "{'password': 'SECRET'}",
    ],
)
def test_a_secret_is_hidden_however_it_is_written(text: str) -> None:
    assert "SECRET" not in redact(text)


@pytest.mark.parametrize(
    "text",
    ["no authorization, try later", "FILE#sha256:abc", "is it /a/b? yes", "https://a.example/c#d"],
)
def test_words_about_secrets_are_none(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "a://",
        "a://'",
        "a://b?'",
        "authorization: ",
        "Cookie: a=b;",
        "hf_",
        "https://a#",
        "/",
        "hf://a@b",
    ],
)
def test_no_text_makes_it_slow(piece: str) -> None:
    # Where every place began a search to the end, each of these took minutes.
    assert len(redact(piece * 100_000)) > 0
    assert len(redact("https://host/" + piece * 100_000)) > 0
