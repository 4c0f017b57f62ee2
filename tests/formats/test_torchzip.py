from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from manifestd.formats import findings_of
from manifestd.rules.impact import classify
from manifestd.rules.tensors import weights_digest
from tests.contracts.format_suite import FormatSuite
from tests.formats.support import Content, facts_of, safetensors, told, torch_zip


class _Name:
    """Pickles as a global of any name, so that torch need not be installed."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


class _Tensor:
    def __init__(self, storage: _Storage, offset: int, shape: Any, stride: Any) -> None:
        self.args: tuple[Any, ...] = (storage, offset, shape, stride, False, OrderedDict())


_PurePickler: Any = vars(pickle)["_Pickler"]


class _Pickler(_PurePickler):  # type: ignore[misc]
    """The pure Python pickler, taught torch's way with storages and tensors."""

    def persistent_id(self, item: Any) -> Any:
        if isinstance(item, _Storage):
            return ("storage", _Name("torch", item.kind), item.key, "cpu", item.count)
        return None

    def save(self, item: Any, save_persistent_id: bool = True) -> None:
        if isinstance(item, _Name):
            self.write(b"c" + f"{item.module}\n{item.name}\n".encode())
        elif isinstance(item, _Tensor):
            self.save(_Name("torch._utils", "_rebuild_tensor_v2"))
            self.save(item.args)
            self.write(b"R")
        else:
            super().save(item, save_persistent_id)


def dumps(value: Any) -> bytes:
    target = io.BytesIO()
    _Pickler(target, 2).dump(value)
    return target.getvalue()


W = bytes(range(24))
V = bytes(range(8, 16))


def records(w: bytes = W, **options: Any) -> dict[str, bytes]:
    state: Any = OrderedDict()
    state["w"] = _Tensor(_Storage("FloatStorage", "0", 6), 0, (2, 3), options.get("stride", (3, 1)))
    state["v"] = _Tensor(_Storage("HalfStorage", "1", 4), options.get("offset", 0), (4,), (1,))
    return {
        "data.pkl": options.get("pkl", dumps(state)),
        "byteorder": b"little",
        "data/0": w,
        "data/1": V,
        "version": b"3\n",
        ".data/serialization_id": options.get("ident", b"1234"),
    }


class TestTorchContract(FormatSuite):
    name = "torchzip"
    path = "pytorch_model.bin"

    def good(self) -> bytes:
        return torch_zip(records())

    def damaged(self) -> list[bytes]:
        good = self.good()
        return [b"", b"PK\3\4", good[:-1], good + b"\0", b"\0" + good, good[:200] + good[201:]]

    def really_equal(self, left: bytes, right: bytes) -> None:
        """Framing may differ (times, versions); what torch reads may not."""
        contents = []
        for data in (left, right):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                contents.append({
                    info.filename.partition("/")[2]: archive.read(info)
                    for info in archive.infolist()
                    if not info.filename.endswith("serialization_id")
                })  # fmt: skip
        assert contents[0] == contents[1]


def test_root_name_serialization_id_and_framing_play_no_part() -> None:
    left = torch_zip(records(), root="pytorch_model")
    right = torch_zip(records(ident=b"99"), root="other", aligned=False)
    found = told("m.bin", left, right)
    assert found.equivalent
    assert found.summary == "the same records, packed differently"


def test_a_changed_tensor_is_named() -> None:
    found = told("m.bin", torch_zip(records()), torch_zip(records(b"x" * 24)))
    assert not found.equivalent
    assert found.tensors is not None
    assert (found.tensors.same, found.tensors.changed) == (1, ["w"])


def test_headers_only_name_the_tensors_without_calling_them_equal() -> None:
    found = told("m.bin", torch_zip(records()), torch_zip(records(ident=b"9")), streamed=False)
    assert not found.equivalent
    assert found.tensors is not None
    assert found.tensors.unknown == 2


def test_the_same_tensors_in_safetensors_have_the_same_weights_digest() -> None:
    zipped = facts_of("m.bin", torch_zip(records()))
    other = {"w": ("F32", [2, 3], W), "v": ("F16", [4], V)}
    assert weights_digest([zipped]) == weights_digest(
        [facts_of("m.safetensors", safetensors(other))]
    )
    assert weights_digest([zipped]) is not None


@pytest.mark.parametrize("options", [{"stride": (1, 2)}, {"offset": 0, "stride": (3, 2)}])
def test_views_of_a_storage_have_no_tensor_digest(options: Any) -> None:
    facts = facts_of("m.bin", torch_zip(records(**options)))
    assert facts is not None
    assert "tensors" in facts
    assert weights_digest([facts]) is None


def test_without_the_local_headers_equality_needs_equal_headers() -> None:
    """More members than headers are read of: data is placed by the directory and torch's alignment."""
    many = {**records(), **{f"data/{n}": bytes([n]) * 140_000 for n in range(2, 22)}}
    left = torch_zip(many)
    facts = facts_of("m.bin", left)
    assert facts is not None
    assert facts["exact"] is False
    content = Content(left)
    from manifestd.formats import reader_for

    reader = reader_for("m.bin", 1)
    assert reader is not None
    reader.outline("m.bin", content)
    assert len(content.reads) < 8
    assert told("m.bin", left, torch_zip({**many, ".data/serialization_id": b"9999"})).equivalent
    renamed = told("m.bin", left, torch_zip(many, root="renamed"))
    assert not renamed.equivalent
    assert renamed.tensors is None or not renamed.tensors.changed


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch EXECUTED",)


def evil_stack_global() -> bytes:
    """The name of os.system comes from the memo, so that no opcode spells it."""
    return (
        b"\x80\x04\x8c\x05posix\x940\x8c\x06system\x940h\x00h\x01\x93\x8c\x0etouch EXECUTED\x85R."
    )


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.pkl", pickle.dumps(_Evil(), 4)),
        ("m.pkl", pickle.dumps(_Evil(), 2)),
        ("m.pkl", pickle.dumps(_Evil(), 0)),
        ("m.bin", b"cposix\nsystem\n(S'touch EXECUTED'\ntR."),
        ("m.bin", b"(S'touch EXECUTED'\niposix\nsystem\n."),
        ("m.pt", evil_stack_global()),
        ("m.bin", torch_zip(records(pkl=pickle.dumps(_Evil(), 2)))),
        ("m.bin", torch_zip(records(pkl=pickle.dumps(_Evil(), 2)), method=zipfile.ZIP_DEFLATED)),
        ("m.bin", pickle.dumps(_Evil(), 2) + b"\x80\x02N."),
        ("m.joblib", b"\x80\x02N." + pickle.dumps(_Evil(), 2)),
    ],
    ids=[
        "protocol 4",
        "protocol 2",
        "protocol 0",
        "global",
        "inst",
        "name from memo",
        "archive",
        "compressed archive",
        "first of two",
        "second of two",
    ],
)
def test_a_pickle_with_os_system_is_a_finding_and_never_executed(
    name: str, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = findings_of(name, facts_of(name, data))
    assert any(one["impact"] == "security" and "posix.system" in one["what"] for one in found)
    told(name, data, torch_zip(records()))
    assert list(tmp_path.iterdir()) == []
    if name.endswith(".pkl"):  # the file really is what it claims to be
        subprocess.run(
            ["python3", "-c", "import pickle,sys; pickle.load(sys.stdin.buffer)"],
            input=data, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert (tmp_path / "EXECUTED").exists()


_EVIL = b"cposix\nsystem\n(S'touch EXECUTED'\ntR."
_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
_LOAD_ALL = """
import pickle, sys
while True:
    pickle.load(sys.stdin.buffer, encoding="utf-8")
"""


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + bytes(5) + _EVIL,
        b"I0x1\n0" + _EVIL,
        b"L0x1\n0" + _EVIL,
        b"S'\xc3\xa9'\n0" + _EVIL,
        _MAGIC + _EVIL,
        _MAGIC + pickle.dumps(1001, 0) + pickle.dumps({}, 0) + _EVIL,
        pickle.dumps(0x1950A86A20F9469CFC6C, 0) + _EVIL,
        b"I1\n0" * 200_000 + _EVIL,
        b"X" + struct.pack("<L", 9 << 20) + bytes(9 << 20) + b"0" + _EVIL,
    ],
    ids=[
        "GGUF is an opcode",
        "hexadecimal number",
        "hexadecimal long",
        "text that is not ASCII",
        "second of an old file",
        "fourth of an old file",
        "old file without a magic",
        "behind a million opcodes",
        "behind a long text",
    ],
)
def test_code_is_found_or_suspected_behind_every_beginning_that_pickle_takes(
    data: bytes, tmp_path: Path
) -> None:
    facts = facts_of("pytorch_model.bin", data)
    found = findings_of("pytorch_model.bin", facts)
    assert {one["rule"] for one in found} & {"pickle-global", "pickle-unread"}
    subprocess.run(
        ["python3", "-c", _LOAD_ALL], input=data, check=False, cwd=tmp_path, capture_output=True
    )
    assert (tmp_path / "EXECUTED").exists()


@pytest.mark.parametrize(
    "data",
    [b"X\xff\xff\xff\x7f" + bytes(9 << 20), b"I??\n" + bytes(99), b"c\xff\nx\n"],
    ids=["a text longer than the file", "a number that is none", "a name that is no text"],
)
def test_raw_weights_that_begin_like_a_pickle_are_not_suspected(data: bytes) -> None:
    facts = facts_of("model.bin", data)
    assert facts is not None
    assert "neither" in facts["refused"]
    assert findings_of("model.bin", facts) == []


@pytest.mark.parametrize(
    "name",
    ["torch.cuda.FloatStorage", "torch.FloatTensor", "torch.nn.parameter.Parameter",
     "torch._tensor._rebuild_from_type_v2", "torch.complex64", "torch.cuda.sparse.HalfTensor"],
)  # fmt: skip
def test_what_torch_loads_as_weights_only_is_no_finding(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    data = torch_zip(records(pkl=b"\x80\x02" + f"c{module}\n{attribute}\n.".encode()))
    facts = facts_of("m.bin", data)
    assert facts is not None
    assert facts["globals"] == [name]
    assert findings_of("m.bin", facts) == []


def test_what_stands_behind_a_bare_pickle_and_is_none_is_no_finding() -> None:
    facts = facts_of("m.pkl", pickle.dumps([1, 2], 0) + b"N" + b"\xff" * 100)
    assert facts is not None
    assert facts["globals"] == []
    assert "findings" not in facts


def tar_of(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        tar_of({"storages": _EVIL, "tensors": _EVIL, "pickle": _EVIL}),
        torch_zip({**records(), "a\\b": b""}),
        torch_zip(records()) + b"trailing",
    ],
    ids=["tar", "odd name", "trailing bytes"],
)
def test_an_archive_that_torch_loads_and_nobody_looked_into_is_a_finding(data: bytes) -> None:
    (finding,) = findings_of("m.bin", facts_of("m.bin", data))
    assert finding["rule"] == "pickle-unread"
    assert finding["impact"] == "security"


def test_an_archive_that_is_cut_off_is_no_matter_of_security() -> None:
    assert findings_of("m.bin", facts_of("m.bin", torch_zip(records())[:-300])) == []


def test_new_globals_are_the_first_change() -> None:
    evil = torch_zip(records(pkl=pickle.dumps(_Evil(), 2)))
    found = told("m.bin", torch_zip(records()), evil)
    assert found.changes[0].at == "pickle globals"
    assert found.changes[0].right == ["posix.system"]


def test_another_storage_class_is_no_security_matter() -> None:
    state = OrderedDict(w=_Tensor(_Storage("IntStorage", "0", 6), 0, (2, 3), (3, 1)))
    other = torch_zip({**records(pkl=dumps(state))})
    found = told("m.bin", torch_zip(records()), other)
    assert {change.at for change in found.changes} == {"imports", "v", "w"}
    assert not any(
        classify("m.bin", "weights", change)[0] == "security" for change in found.changes
    )


def test_a_global_computed_while_loading_is_a_finding() -> None:
    data = b"\x80\x04N\x8c\x06system\x93."
    (finding, *_) = findings_of("m.pkl", facts_of("m.pkl", data))
    assert "computed while loading" in finding["what"]


def test_an_ordinary_archive_has_no_finding() -> None:
    assert findings_of("m.bin", facts_of("m.bin", torch_zip(records()))) == []


@pytest.mark.parametrize(
    "filling", [b"N0" * 300_000, b"".join(b"ctorch\nx%d\n0" % n for n in range(3000))]
)
def test_what_a_flooded_pickle_imports_first_is_still_told(filling: bytes) -> None:
    data = b"\x80\x02cposix\nsystem\n0ca\nb\n0" + filling + b"cposix\nfork\n."
    found = findings_of("m.pkl", facts_of("m.pkl", data))
    assert [one["rule"] for one in found] == ["pickle-global", "pickle-unread"]
    assert found[0]["what"].startswith("loading this pickle imports posix.system")


def test_a_pickle_cut_off_is_a_finding() -> None:
    data = pickle.dumps({"a": list(range(1000))}, 4)[:500]
    (finding,) = findings_of("m.pkl", facts_of("m.pkl", data))
    assert finding["rule"] == "pickle-unread"


def test_a_pickle_of_a_million_opcodes_is_refused() -> None:
    data = torch_zip(records(pkl=b"\x80\x02" + b"N0" * 1_000_000 + b"N."))
    (finding,) = findings_of("m.bin", facts_of("m.bin", data))
    assert finding["rule"] == "pickle-unread"


def test_a_zip_that_inflates_a_thousandfold_is_refused() -> None:
    bomb = torch_zip(records(pkl=bytes(200_000_000)), method=zipfile.ZIP_DEFLATED)
    facts = facts_of("m.bin", bomb)
    assert facts is not None
    assert "compressed" in facts["refused"]


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def with_twin() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data/0", b"1")
        archive.writestr("archive/data/1", b"2")
    return target.getvalue().replace(b"archive/data/1", b"archive/data/0")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (torch_zip({**records(), "../x": b""}), "member name"),
        (torch_zip({**records(), "a\\b": b""}), "member name"),
        (with_twin(), "twice"),
        (torch_zip(records()) + b"x", "end record"),
        (patched(torch_zip(records()), 30, b"X"), "contradicts"),
        (torch_zip(records())[:-22], "end record"),
        (torch_zip(records(), method=zipfile.ZIP_DEFLATED), "compressed"),
        (b"GGUF" + bytes(100), "GGUF"),
        (b"lmgg" + bytes(100), "neither"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
def test_archives_torch_does_not_write_are_refused_with_the_reason(data: bytes, why: str) -> None:
    facts = facts_of("m.bin", data)
    assert facts is not None
    assert why in facts["refused"]


def test_two_roots_are_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a/data.pkl", b"")
        archive.writestr("b/data.pkl", b"")
    facts = facts_of("m.bin", target.getvalue())
    assert facts is not None
    assert "one root" in facts["refused"]


def test_hidden_bytes_between_members_are_refused() -> None:
    data = torch_zip({"a": b"1", "b": b"2"}, aligned=False)
    second = data.index(b"PK\x03\x04", 4)
    moved = data[:second] + b"HIDE" + data[second:]
    directory = moved.index(b"PK\x01\x02")
    entry = moved.index(b"PK\x01\x02", directory + 4)
    moved = patched(moved, entry + 42, struct.pack("<L", second + 4))
    moved = patched(moved, len(moved) - 6, struct.pack("<L", directory))
    with zipfile.ZipFile(io.BytesIO(moved)) as archive:
        assert archive.read("archive/b") == b"2"
    facts = facts_of("m.bin", moved)
    assert facts is not None
    assert "bytes between" in facts["refused"]


def test_data_descriptors_as_torch_writes_them_are_understood() -> None:
    """Bit 3 set, sizes zero in the local header, a descriptor behind the data."""
    body, directory = b"", b""
    for name, data in records().items():
        full = f"archive/{name}".encode()
        at = len(body)
        pad = -(at + 30 + len(full) + 4) % 64
        extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
        crc = zlib.crc32(data)
        body += struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", 0, 8, 0, 0, 0, 0, 0, 0, len(full), len(extra)
        )
        body += full + extra + data + struct.pack("<4s3L", b"PK\x07\x08", crc, len(data), len(data))
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 0, 0, 8, 0, 0, 0, crc, len(data), len(data),
            len(full), 0, 0, 0, 0, 0, at,
        ) + full  # fmt: skip
    count = len(records())
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    archive = body + directory + end
    with zipfile.ZipFile(io.BytesIO(archive)) as check:
        assert check.testzip() is None
    found = told("m.bin", archive, torch_zip(records()))
    # Flags stand in the directory of both, so only names, sizes and digests may decide.
    assert found.equivalent
