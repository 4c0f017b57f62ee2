"""A publisher's OpenSSF signature against stored digests: one of four answers, the bytes absent."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from manifestd.errors import UsageError
from manifestd.model.entry import Problem
from manifestd.model.oms import EXIT_CODES, OmsResult
from manifestd.store import open_store
from manifestd.workflows.oms import (
    carried_signatures,
    sign_as_oms,
    verify_signature,
)
from tests.signing.conftest import public, signer
from tests.signing.oms_support import (
    MODEL,
    accepts,
    bundle,
    pairs,
    payload_of,
    sign,
    statement,
)
from tests.support.schemas import check_document
from tests.support.trees import write_tree
from tests.workflows.stored import keep, listed_file

COVERED = {path: data for path, data in MODEL.items() if path != ".gitattributes"}

Judge = Callable[..., OmsResult]


@pytest.fixture
def judge(tmp_path: Path, keys: Path) -> Judge:
    """Hold a signature against a store that has digests and no model."""

    def judged(signature: bytes, files: Any = MODEL, *, key: str = "p256", **kept: Any) -> Any:
        with open_store(tmp_path / "store.db", write=True) as store:
            digest = keep(store, files, **kept)
        with open_store(tmp_path / "store.db") as store:
            found = verify_signature(store, digest, signature, public(keys, key))
        check_document("oms", msgspec.to_builtins(found))
        assert (found.key is None) == (found.answer == "bad signature" or found.model is None), (
            found
        )
        return found

    return judged


def of_pairs(keys: Path, resources: list[tuple[str, str]], **changed: Any) -> bytes:
    return bundle(statement(resources, **changed), signer(keys))


# ------------------------------------------------------------- signatures of model_signing itself


@pytest.mark.slow
def test_a_signature_of_the_reference_tool_is_verified_without_the_model(
    tmp_path: Path, keys: Path, judge: Judge
) -> None:
    model = write_tree(tmp_path / "m", MODEL)
    signature = sign(model, model / "model.sig", keys / "p256.pem")
    found = judge(signature, {**MODEL, "model.sig": signature})
    assert (found.answer, found.outcome.files, found.model) == ("verified", len(COVERED), "m")
    # It never covers itself, nor what git keeps for itself.
    assert found.outcome.not_covered == [".gitattributes", "model.sig"]
    tampered = {**MODEL, "config.json": b'{"a": 2}'}
    found = judge(signature, {**tampered, "model.sig": signature})
    assert (found.answer, found.outcome.changed) == ("mismatch", ["config.json"])


@pytest.mark.slow
@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_the_reference_tool_accepts_what_is_exported_from_digests(
    tmp_path: Path, keys: Path, curve: str
) -> None:
    with open_store(tmp_path / "store.db", write=True) as store:
        digest = keep(store, MODEL, name="org/m")
        signature = sign_as_oms(store, digest, signer(keys, curve), ("model.sig",))
    model = write_tree(tmp_path / "m", MODEL)
    (model / "model.sig").write_bytes(signature)
    key = keys / f"{curve}.pem.pub"
    assert accepts(model, model / "model.sig", key)
    assert payload_of(signature)["subject"][0]["name"] == "m"
    (model / "onnx/model.onnx").write_bytes(b"\x08\x08")
    assert not accepts(model, model / "model.sig", key)


@pytest.mark.slow
def test_paths_left_out_are_left_out_for_the_reference_tool_too(tmp_path: Path, keys: Path) -> None:
    with open_store(tmp_path / "store.db", write=True) as store:
        digest = keep(store, MODEL)
        signature = sign_as_oms(store, digest, signer(keys), ("model.sig", "onnx", "README.md"))
    listed = {item["name"] for item in payload_of(signature)["predicate"]["resources"]}
    assert listed == {p for p in COVERED if not p.startswith("onnx/") and p != "README.md"}
    model = write_tree(tmp_path / "m", {**MODEL, "README.md": b"changed", "onnx/more": b"added"})
    outside = tmp_path / "outside.sig"
    outside.write_bytes(signature)
    assert accepts(model, outside, keys / "p256.pem.pub")


@pytest.mark.slow
def test_a_model_of_one_file_and_git_files_that_were_signed(
    tmp_path: Path, keys: Path, judge: Judge
) -> None:
    single = write_tree(tmp_path, {"model.gguf": b"GGUF"}) / "model.gguf"
    signature = sign(single, tmp_path / "one.sig", keys / "p256.pem")
    assert payload_of(signature)["predicate"]["resources"][0]["name"] == "."
    assert judge(signature, {"model.gguf": b"GGUF"}).answer == "verified"
    assert judge(signature, {"model.gguf": b"GGUX"}).answer == "mismatch"
    assert judge(signature, {"a": b"GGUF", "b": b""}).answer == "mismatch"
    model = write_tree(tmp_path / "m", MODEL)
    signature = sign(model, tmp_path / "all.sig", keys / "p256.pem", "--no-ignore-git-paths")
    found = judge(signature)
    assert (found.answer, found.outcome.not_covered) == ("verified", [])
    assert judge(signature, {**MODEL, ".gitattributes": b"x"}).outcome.changed == [".gitattributes"]


@pytest.mark.slow
def test_hashes_and_shards_of_the_reference_library(
    tmp_path: Path, keys: Path, judge: Judge
) -> None:
    import model_signing

    library: Any = model_signing
    files = {"one.bin": b"x" * 90, "many.bin": b"y" * 250, "void": b""}
    model = write_tree(tmp_path / "m", files)

    def signed(name: str, hashing: Any) -> bytes:
        path = tmp_path / f"{name}.sig"
        library.signing.Config().use_elliptic_key_signer(
            private_key=keys / "p256.pem"
        ).set_hashing_config(hashing).sign(model, path)
        return path.read_bytes()

    def hashing() -> Any:
        return library.hashing.Config()

    for algorithm in ("blake3", "blake2"):
        signature = signed(algorithm, hashing().use_file_serialization(hashing_algorithm=algorithm))
        found = judge(signature, files)
        assert found.answer == "cannot check"
        assert "the store has sha256" in str(found.outcome.why)
    shards = hashing().use_shard_serialization(hashing_algorithm="sha256", shard_size=100)
    signature = signed("shards", shards)
    found = judge(signature, files)
    assert (found.answer, found.outcome.files) == ("cannot check", 1)
    assert [text.split(":")[0] for text in found.outcome.unknown] == ["many.bin", "void"]
    # What one shard covers whole is decided; so is every other length.
    assert judge(signature, {**files, "one.bin": b"z" * 90}).outcome.changed == ["one.bin"]
    assert judge(signature, {**files, "many.bin": b"y" * 251}).outcome.changed == ["many.bin"]
    assert judge(signature, {**files, "new.bin": b"n"}).outcome.extra == ["new.bin"]


# ------------------------------------------------------------------------- the four answers


def test_tampered_missing_and_extra_files_are_a_mismatch(keys: Path, judge: Judge) -> None:
    signature = of_pairs(keys, pairs(COVERED))
    files = {p: d for p, d in MODEL.items() if p != "README.md"}
    files |= {"empty.txt": b"not any more", "evil.py": b"import os"}
    found = judge(signature, files)
    assert found.answer == "mismatch"
    assert found.outcome.why == "1 changed, 1 missing, 1 not signed"
    assert found.outcome.changed == ["empty.txt"]
    assert found.outcome.missing == ["README.md"]
    assert found.outcome.extra == ["evil.py"]
    assert found.outcome.files == len(COVERED) - 2


def test_what_the_signature_does_not_cover_is_named(keys: Path, judge: Judge) -> None:
    covered = {p: d for p, d in COVERED.items() if not p.startswith("onnx/")}
    signature = of_pairs(keys, pairs(covered), ignore=["onnx", "./README.md", "../away"][:2])
    found = judge(signature, {**MODEL, "README.md": b"free to change"})
    # The README is listed, so it is checked, whatever is said to be ignored.
    assert (found.answer, found.outcome.changed) == ("mismatch", ["README.md"])
    assert found.outcome.not_covered == [
        ".gitattributes", "onnx/deep/er/weights.bin", "onnx/model.onnx",
    ]  # fmt: skip
    del covered["README.md"]
    signature = of_pairs(keys, pairs(covered), ignore=["onnx", "README.md"])
    found = judge(signature, {**MODEL, "README.md": b"free to change"})
    assert found.answer == "verified"
    assert "README.md" in found.outcome.not_covered


def test_another_signature_in_the_model_is_not_covered_by_this_one(
    keys: Path, judge: Judge
) -> None:
    signature = of_pairs(keys, pairs(COVERED))
    found = judge(signature, {**MODEL, "model.sig": signature, "other.sig": b"{}"})
    assert (found.answer, found.outcome.extra) == ("mismatch", ["other.sig"])


def test_files_of_unknown_sha256_cannot_be_checked_and_never_pass(keys: Path, judge: Judge) -> None:
    signature = of_pairs(keys, pairs(COVERED))
    weak = listed_file("config.json", MODEL["config.json"], {"md5": "stored"})
    found = judge(signature, {**MODEL, "config.json": weak})
    assert (found.answer, found.outcome.files) == ("cannot check", len(COVERED) - 1)
    assert found.outcome.unknown == ["config.json: its sha256 is not known"]
    found = judge(signature, {**MODEL, "config.json": weak, "README.md": b"other"})
    assert found.answer == "mismatch"


def test_a_file_the_snapshot_did_not_look_at_is_not_called_missing(
    keys: Path, judge: Judge
) -> None:
    signature = of_pairs(keys, pairs(COVERED))
    files = {p: d for p, d in MODEL.items() if not p.startswith("onnx/")}
    found = judge(signature, files, ignore=["*.onnx"], problems=[
        Problem(path="onnx/deep/er/weights.bin", code="access-denied", what="access denied"),
    ])  # fmt: skip
    assert (found.answer, found.outcome.missing) == ("cannot check", [])
    assert found.outcome.unknown == [
        "onnx/deep/er/weights.bin: access denied",
        "onnx/model.onnx: left out of the snapshot by --ignore",
    ]


def test_another_key_and_a_changed_payload_are_bad_signatures(keys: Path, judge: Judge) -> None:
    signature = of_pairs(keys, pairs(COVERED))
    found = judge(signature, key="other")
    assert found.answer == "bad signature"
    other, right = (public(keys, name) for name in ("other", "p256"))
    said = "it is not by the key given ({}); it says it is by {}"
    assert found.outcome.why == said.format(other.key_id[:12], "unknown")
    document = json.loads(signature)
    # The reference tool names keys by hints only.
    document["verificationMaterial"] = {"publicKey": {"hint": right.hint}}
    found = judge(json.dumps(document).encode(), key="other")
    assert found.outcome.why == said.format(f"hint {other.hint[:12]}", f"hint {right.hint[:12]}")
    document["dsseEnvelope"]["signatures"][0]["keyid"] = right.key_id
    found = judge(json.dumps(document).encode(), key="other")
    assert found.outcome.why == said.format(other.key_id[:12], right.key_id[:12])
    document = json.loads(signature)
    payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b'"m"', b'"n"')
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    assert judge(json.dumps(document).encode()).answer == "bad signature"


def test_the_key_in_a_bundle_is_never_used(keys: Path, judge: Judge) -> None:
    """Bundles of 0.3.1 to 1.0 carry the key itself; only the caller's counts."""
    payload = statement(pairs(COVERED))
    material = {
        "publicKey": {
            "rawBytes": base64.b64encode((keys / "other.pem.pub").read_bytes()).decode(),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        },
        "tlogEntries": [],
    }
    signature = bundle(payload, signer(keys, "other"), verificationMaterial=material)
    assert judge(signature).answer == "bad signature"
    assert judge(signature, key="other").answer == "verified"


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ([("a", "0" * 64), ("a", "1" * 64)], "names 'a' twice"),
        ([("a", "0" * 64), ("./a", "0" * 64)], "names 'a' twice"),
        ([("b/a:1:2", "0" * 64), ("b//a:1:2", "1" * 64)], "twice"),
        ([("../a", "0" * 64)], "leads out"),
        ([("/a", "0" * 64)], "not a path"),
        ([("", "0" * 64)], "not a path"),
        ([("a\0b", "0" * 64)], "not a path"),
        ([("a", "0" * 40)], "sha256"),
        ([], "signs no file"),
    ],
)  # fmt: skip
def test_a_signed_payload_that_is_unclear_is_refused(
    keys: Path, judge: Judge, resources: list[tuple[str, str]], told: str
) -> None:
    found = judge(of_pairs(keys, resources), {"a": b""})
    assert found.answer == "bad signature"
    assert told in str(found.outcome.why)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"root": "0" * 64}, "root digest"),
        ({"algorithm": "md5"}, "among those of sha256"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "not a model signature"),
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not a model signature"),
        ({"subject": []}, "a field is missing"),
        ({"predicate": {}}, "a field is missing"),
        ({"ignore": "README.md"}, "a field is missing"),
        ({"method": "shards"}, "has no range"),
    ],
)
def test_a_signed_payload_of_another_shape_is_refused(
    keys: Path, judge: Judge, changed: dict[str, Any], told: str
) -> None:
    found = judge(of_pairs(keys, pairs(COVERED), **changed))
    assert found.answer == "bad signature"
    assert told in str(found.outcome.why)


def test_json_names_that_stand_twice_are_refused(keys: Path, judge: Judge) -> None:
    body = json.dumps(statement(pairs(COVERED))).encode()
    twice = body[:-1] + b',"predicateType":"https://model_signing/signature/v1.0"}'
    from manifestd.model.envelope import pre_authentication_encoding
    from manifestd.model.media_types import IN_TOTO

    good = json.loads(bundle({}, signer(keys)))
    raw = signer(keys).sign(pre_authentication_encoding(IN_TOTO, twice))
    good["dsseEnvelope"]["payload"] = base64.b64encode(twice).decode()
    good["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(raw).decode()
    found = judge(json.dumps(good).encode())
    assert found.answer == "bad signature"
    assert "twice" in str(found.outcome.why)


def test_blake3_and_unknown_methods_cannot_be_checked(keys: Path, judge: Judge) -> None:
    resources = pairs(COVERED, lambda data: blake3.blake3(data).hexdigest())
    found = judge(of_pairs(keys, resources, hash_type="blake3"))
    assert (found.answer, found.outcome.files) == ("cannot check", 0)
    assert found.outcome.not_covered == [".gitattributes"]
    assert judge(of_pairs(keys, pairs(COVERED), method="chunks")).answer == "cannot check"


def test_a_certificate_bundle_is_refused_with_the_reason_and_not_called_bad(
    keys: Path, judge: Judge
) -> None:
    for material in (
        {"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}},
        {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{"logIndex": "1"}]},
        {"publicKey": {"hint": ""}, "tlogEntries": [{"logIndex": "1"}]},
    ):
        found = judge(
            bundle(statement(pairs(COVERED)), signer(keys), verificationMaterial=material)
        )
        assert found.answer == "cannot check"
        assert "certificate" in str(found.outcome.why) or "log" in str(found.outcome.why)


def test_a_signature_of_version_0_2_is_refused_with_the_reason(keys: Path, judge: Judge) -> None:
    """Its signature input was not DSSE's, so no correct verifier accepts it."""
    payload = json.dumps({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://model_signing/Digests/v0.1",
    }).encode()  # fmt: skip
    document = json.loads(bundle({}, signer(keys)))
    kind = document["dsseEnvelope"]["payloadType"]
    wrong = f"DSSEV1 {len(kind)} {kind} {len(payload)} {payload!r}".encode()
    private = serialization.load_pem_private_key((keys / "p256.pem").read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    document["dsseEnvelope"] |= {
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"sig": base64.b64encode(private.sign(wrong, ec.ECDSA(hashes.SHA256()))).decode()}
        ],
    }
    found = judge(json.dumps(document).encode())
    assert found.answer == "cannot check"
    assert "version 0.2" in str(found.outcome.why)


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b"[" * 5000, b'{"mediaType":1}'])
def test_what_is_no_bundle_is_a_bad_signature(judge: Judge, data: bytes) -> None:
    assert judge(data).answer == "bad signature"


def test_every_answer_has_its_exit_code() -> None:
    assert EXIT_CODES == {"verified": 0, "mismatch": 4, "cannot check": 3, "bad signature": 4}


# ------------------------------------------------------------------------------------ signing


def test_resources_are_in_code_point_order_and_the_root_is_over_raw_digests(
    tmp_path: Path, keys: Path
) -> None:
    with open_store(tmp_path / "store.db", write=True) as store:
        payload = payload_of(sign_as_oms(store, keep(store, MODEL), signer(keys), ()))
    resources = payload["predicate"]["resources"]
    names = [item["name"] for item in resources]
    assert names == sorted(COVERED, key=str.encode)
    assert names.index("onnx-fp16.txt") < names.index("onnx/model.onnx")
    raw = b"".join(bytes.fromhex(item["digest"]) for item in resources)
    assert payload["subject"][0]["digest"]["sha256"] == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("path", ["../up", "/abs", "a//b", "./a", "a/./b", "nul\0"])
def test_a_path_that_oms_cannot_carry_is_refused(tmp_path: Path, keys: Path, path: str) -> None:
    with open_store(tmp_path / "store.db", write=True) as store:
        digest = keep(store, {"config.json": b"{}", path: b"x"})
        with pytest.raises(UsageError, match="cannot carry"):
            sign_as_oms(store, digest, signer(keys), ())


def test_ed25519_keys_and_unknown_digests_cannot_sign(tmp_path: Path, keys: Path) -> None:
    with open_store(tmp_path / "store.db", write=True) as store:
        digest = keep(store, MODEL)
        with pytest.raises(UsageError, match="Ed25519"):
            sign_as_oms(store, digest, signer(keys, "ed25519"), ())
        weak = listed_file("a.bin", b"a", {"md5": "stored"})
        partial = keep(store, {"a.bin": weak}, source="s3://b/p/")
        with pytest.raises(UsageError, match="incomplete"):
            sign_as_oms(store, partial, signer(keys), ())
        with pytest.raises(UsageError, match="no file is left"):
            sign_as_oms(store, digest, signer(keys), tuple(COVERED))


# ---------------------------------------------------------------------------- found by itself


def test_signatures_that_a_snapshot_contains_are_found_and_not_believed(
    tmp_path: Path, keys: Path
) -> None:
    good = of_pairs(keys, pairs(COVERED))
    certificate = bundle({}, signer(keys), verificationMaterial={"certificate": {}})
    old = bundle({"predicateType": "https://model_signing/Digests/v0.1"}, signer(keys))
    other = bundle({"predicateType": "https://slsa.dev/provenance/v1"}, signer(keys))
    files = {
        "a.sig": good, "b.sig": certificate, "c.sig": b"-----BEGIN PGP", "d.sig": old,
        "e.sig": other, "f.txt": good,
    }  # fmt: skip
    with open_store(tmp_path / "store.db", write=True) as store:
        record = store.snapshots.load(keep(store, files))
        lines = carried_signatures(store, record)
    assert len(lines) == 5
    assert lines[0].startswith("an OpenSSF model signature: a.sig, by the key ")
    assert "not verified here" in lines[0]
    assert "certificate" in lines[1]
    assert "no signature that can be checked" in lines[2]
    assert "version 0.2" in lines[3]
    assert "no OpenSSF model signature" in lines[4]
    assert not [line for line in lines if "f.txt" in line]
