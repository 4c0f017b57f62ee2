"""Secrets in texts: every kind is found on its line, look-alikes are not, time is bounded."""

from __future__ import annotations

import json

import pytest

from manifestd.rules.secrets import MAX_FOUND, Secret, find_secrets, hide, secret_values

BODY = "JvHtLcWbKxRqPmZnYsDgFaEuTiOoVhBkJd"
MIXED = "aB3dEf6hIjK9mN2pQr5tUv8xYz1cDe4gHiJ7"

SECRETS = {
    "Hugging Face token": f'"token": "hf_{BODY}"',
    "AWS access key id": "AKIAIOSFODNN7EXAMPLE",
    "private key": "-----BEGIN RSA PRIVATE KEY-----",
    "GitHub token": f"ghp_{MIXED}",
    "GitLab token": "glpat-aB3dEf6hIjK9mN2pQr5t",
    "Slack token": "xoxb-123456789012-abcdefghij",
    "Slack webhook": "https://hooks.slack.com/services/T00000000/B00000000/" + MIXED[:24],
    "Google API key": "AIza" + MIXED[:35],
    "API key": f"sk-proj-{MIXED}{MIXED}",
    "Stripe key": "sk_live_" + MIXED[:24],
    "npm token": "npm_" + MIXED,
    "package index token": "pypi-AgEIcHlwaS5vcmcC" + MIXED * 2,
    "storage account key": "AccountKey=" + "a1B2" * 21 + "aB==",
    "password in an address": "postgres://user:hunter2@db.internal/models",
    "secret by its name": "API_KEY=9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_found_on_its_line_and_not_kept(kind: str) -> None:
    text = f"# a file\n\nvalue {SECRETS[kind]}\nend\n".encode()
    assert find_secrets(text) == [Secret(kind, 3)]
    assert SECRETS[kind] not in repr(find_secrets(text))


@pytest.mark.parametrize("text", [
    "-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN PGP PRIVATE KEY BLOCK-----",
    f"github_pat_{MIXED}", f"api_org_{BODY}", "ASIAIOSFODNN7EXAMPLE",
    'client_secret: "9f8a7b6c5d4e3f2a1b0c"', "Authorization: Bearer 9f8a7b6c5d4e3f2a1b0c",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz3KEY1", f"hf_token={BODY}7",
])  # fmt: skip
def test_other_spellings_are_found(text: str) -> None:
    assert len(find_secrets(text.encode())) == 1


@pytest.mark.parametrize("text", [
    '{"bos_token": "<|begin_of_text|>", "pad_token": "<|finetune_right_pad_id|>"}',
    '{"tokenizer_class": "PreTrainedTokenizerFast", "sep_token": "[SEP]"}',
    "hf_internal_testing_tiny_random_model", "hf_internaltestingtinymodelfile",
    'api_key = os.environ["MY_API_KEY_1234567890"]', "api_key = YOUR_API_KEY_GOES_HERE_12345",
    "access_key = self.attention_keys_projection_layer1", "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----", "https://huggingface.co/org/name:main@x",
    "postgres://user:password@localhost/db", "postgres://user:${PASSWORD}@db/models",
    'password = getpass("Your password please")', "key = 9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c",
    "sha256:9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c",
    "the secret of these models is attention", "num_key_value_heads: 8",
])  # fmt: skip
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert find_secrets(text.encode()) == []


def test_a_token_under_a_telling_name_is_one_secret() -> None:
    assert find_secrets(f'"api_token": "hf_{BODY}"'.encode()) == [Secret("Hugging Face token", 1)]


def test_a_text_in_utf_16_is_read() -> None:
    text = f"one\ntoken = hf_{BODY}\n"
    assert find_secrets(text.encode("utf-16")) == [Secret("Hugging Face token", 2)]


def test_lines_are_counted_and_the_list_is_bounded() -> None:
    lines = find_secrets("".join(f"hf_{BODY}\n" for _ in range(MAX_FOUND + 9)).encode())
    assert [secret.line for secret in lines] == list(range(1, MAX_FOUND + 1))


@pytest.mark.parametrize("unit", [
    b"secret", b"secret_", b"a://", b"://aaaa:", b"hf_", b"-----BEGIN A ", b"api_key  ", b"bearer ",
])  # fmt: skip
def test_a_hostile_text_is_searched_to_its_end(unit: bytes) -> None:
    # Where every place begins a search to the end, each of these takes an hour.
    text = unit * (1_000_000 // len(unit)) + b"\n" + f" hf_{BODY}\n".encode()
    assert Secret("Hugging Face token", 2) in find_secrets(text)


def test_a_large_vocabulary_has_none() -> None:
    vocabulary = {f"tok{number:x}en": number for number in range(100_000)}
    assert find_secrets(json.dumps({"model": {"vocab": vocabulary}}).encode()) == []


@pytest.mark.parametrize("kind", SECRETS)
def test_what_is_found_in_a_file_is_hidden_wherever_it_is_shown(kind: str) -> None:
    found = secret_values(f"value {SECRETS[kind]}\nend\n".encode())
    assert found or kind == "private key"  # which is shown by its header only
    for value in found:
        assert value not in hide(f"before {value} after", found)
        assert value[:6] not in hide(f"before {value[:6]}… (300 characters)", found)
    assert hide("before and after", found) == "before and after"


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_hidden_without_its_file_too(kind: str) -> None:
    shown = hide(f"é {SECRETS[kind]} \ud800", {})
    assert f"[{kind}, not shown]" in shown
    assert shown.startswith("é ")
    assert shown.endswith(" \ud800") or kind == "private key"


def test_a_secret_told_by_its_name_only_is_hidden_by_its_name() -> None:
    value = "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"
    assert hide(value, {}, "/general.api_key") == "[secret by its name, not shown]"
    assert hide(value, {}, "/general.digest") == value


@pytest.mark.parametrize("newline", ["\n", "\\n"])
def test_the_lines_of_a_private_key_are_hidden_one_by_one(newline: str) -> None:
    lines = ["MIIEowIBAAKCAQEA" + MIXED, "nA9" + MIXED, "b/+" + MIXED]
    text = newline.join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", "x"])
    found = secret_values(text.encode())
    for line in lines:
        assert hide(line, found) == "[private key, not shown]"
    whole = hide(text.replace("\\n", "\n"), {})
    assert not any(line in whole for line in lines)
    assert whole.endswith("-----END PRIVATE KEY-----\nx")
