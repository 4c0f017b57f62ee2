"""Archive layers made to harm: bombs, links, names that lead out, lies about lengths and digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.errors import MalformedError
from manifestd.model.entry import Entry, Problem
from manifestd.sources import oci_unpack
from manifestd.sources.oci import OciSource
from manifestd.sources.oci_archive import Opened, overlay
from manifestd.sources.oci_tar import Tar
from tests.sources.test_oci_logins import _all_sources_are_closed, source_over
from tests.support.registry import sha256, tar_of
from tests.support.registry_loopback import SmallRegistry, small_registry

__all__ = ["_all_sources_are_closed"]

TAR = "application/vnd.cncf.model.weight.v1.tar"


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found


def opened(
    registry: SmallRegistry, data: bytes, kind: str = TAR, **notes: str
) -> tuple[dict[str, Entry], list[Problem]]:
    registry.add("v1", [registry.add_blob(data, kind, **notes)])
    source = source_over(registry)
    found = list(source.list(source.resolve()))
    source.close()
    entries = {item.path: item for item in found if isinstance(item, Entry)}
    return entries, [item for item in found if isinstance(item, Problem)]


@pytest.mark.parametrize(
    ("name", "flag", "code"),
    [
        ("link", tarfile.SYMTYPE, "link"),
        ("hard", tarfile.LNKTYPE, "link"),
        ("null", tarfile.CHRTYPE, "special-file"),
        ("disk", tarfile.BLKTYPE, "special-file"),
        ("pipe", tarfile.FIFOTYPE, "special-file"),
        ("odd", b"Z", "special-file"),
        ("/etc/passwd", tarfile.REGTYPE, "unsafe-path"),
        ("../../x", tarfile.REGTYPE, "unsafe-path"),
        ("a/./b", tarfile.REGTYPE, "unsafe-path"),
        ("good.txt", tarfile.REGTYPE, "duplicate-path"),
        ("./good.txt", tarfile.REGTYPE, "duplicate-path"),
    ],
)
def test_members_that_could_harm_are_refused_and_the_others_read(
    registry: SmallRegistry, name: str, flag: bytes, code: str
) -> None:
    data = tar_of({"good.txt": b"good"}, (name, "good.txt", flag), (name + "2", "x", flag))
    entries, problems = opened(registry, data)
    assert entries["good.txt"].digests["sha256"] == hashlib.sha256(b"good").hexdigest()
    assert [problem.code for problem in problems][:1] == [code]
    assert problems[0].severity == "error"
    assert sha256(data) in problems[0].what


def test_a_layer_with_refused_members_is_opened_again_next_time(registry: SmallRegistry) -> None:
    whole, _ = opened(registry, tar_of({"a": b"1", "b": b"2"}))
    partial, _ = opened(registry, tar_of({"a": b"1"}, ("b", "a", tarfile.SYMTYPE)))
    assert {entry.hints.get("members") for entry in whole.values()} == {2}
    assert {entry.hints.get("members") for entry in partial.values()} == {None}


def test_names_that_are_not_utf8_are_refused(registry: SmallRegistry) -> None:
    data = bytearray(tar_of({"abcd": b"x"}))
    data[1:2] = b"\xff"
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 256 + sum(data[156:512]))
    entries, (problem,) = opened(registry, bytes(data))
    assert not entries
    assert problem.code == "not-utf8"


def test_the_only_file_of_a_layer_has_the_path_that_the_manifest_gives(
    registry: SmallRegistry,
) -> None:
    notes = {"org_cncf_model_filepath": "sub/folder/a.txt"}
    assert list(opened(registry, tar_of({"a.txt": b"x"}), **notes)[0]) == ["sub/folder/a.txt"]
    assert list(opened(registry, tar_of({"b.txt": b"x"}), **notes)[0]) == ["b.txt"]
    assert len(opened(registry, tar_of({"a.txt": b"x", "b.txt": b""}), **notes)[0]) == 2


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_decompression_bomb_is_refused_before_it_goes_off(
    registry: SmallRegistry, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_unpack, "FREE", 1024 * 1024)
    zeros = tar_of({"zeros": bytes(64 * 1024 * 1024)})
    data = gzip.compress(zeros) if packing == "gzip" else zstandard.compress(zeros)
    assert len(zeros) > 900 * len(data)
    tracemalloc.start()
    entries, (problem,) = opened(registry, data, f"{TAR}+{packing}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not entries
    assert problem.code == "malformed"
    assert "bomb" in problem.what
    assert peak < 32 * 1024 * 1024


def test_more_members_than_a_layer_may_hold_are_refused(
    registry: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifestd.sources.oci_archive.MAX_MEMBERS", 5)
    entries, (problem,) = opened(registry, tar_of({str(n): b"" for n in range(6)}))
    assert not entries
    assert "more than 5" in problem.what


def test_layers_without_end_are_not_opened(
    registry: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifestd.sources.oci_archive.MAX_ALL", 20)
    layer = registry.add_blob(tar_of({str(n): b"" for n in range(6)}), TAR)
    registry.add("v1", [layer] * 200)
    source = source_over(registry)
    found = list(source.list(source.resolve()))
    source.close()
    assert sum(isinstance(item, Entry) for item in found) == 6
    refused = [item for item in found if isinstance(item, Problem) and "more than 20" in item.what]
    assert len(refused) > 190
    # The rest was not even fetched.
    assert sum(path.endswith(layer["digest"]) for _, path, _ in registry.seen) < 10


def test_a_layer_with_another_digest_gives_no_file(registry: SmallRegistry) -> None:
    good, bad = tar_of({"a": b"good"}), tar_of({"a": b"evil"})
    layer = registry.add_blob(good, TAR)
    registry.blobs[layer["digest"]] = bad
    registry.add("v1", [layer])
    source = source_over(registry)
    (problem,) = source.list(source.resolve())
    source.close()
    assert isinstance(problem, Problem)
    assert (problem.code, problem.severity) == ("digest-mismatch", "mismatch")


@pytest.mark.parametrize("packing", ["", "+gzip", "+zstd"])
def test_damaged_archives_are_malformed(registry: SmallRegistry, packing: str) -> None:
    data = tar_of({"a": bytes(range(256)) * 40})
    if packing:
        data = gzip.compress(data) if packing == "+gzip" else zstandard.compress(data)
    for bad in (data[: len(data) // 8], b"nonsense" * 100):
        entries, (problem,) = opened(registry, bad, TAR + packing)
        assert not entries
        assert problem.code == "malformed", problem


@pytest.mark.parametrize("packing", ["", "+gzip"])
def test_a_cut_connection_does_not_spoil_an_archive(registry: SmallRegistry, packing: str) -> None:
    files = {f"{n}.bin": hashlib.shake_128(bytes([n])).digest(50_000) for n in range(8)}
    data = tar_of(files)
    registry.cut = 30_001
    entries, problems = opened(registry, gzip.compress(data) if packing else data, TAR + packing)
    assert not problems
    assert {path: entry.digests["sha256"] for path, entry in entries.items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in files.items()
    }


def test_gzip_in_several_pieces_with_padding_is_one_stream(registry: SmallRegistry) -> None:
    data = tar_of({"a": b"x" * 5000})
    pieces = gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(600)
    entries, problems = opened(registry, pieces, f"{TAR}+gzip")
    assert (list(entries), problems) == (["a"], [])


def test_leaving_a_listing_early_ends_the_reading(registry: SmallRegistry) -> None:
    kinds = [registry.add_blob(tar_of({f"{n}": bytes(1_000_000)}), TAR) for n in range(12)]
    registry.add("v1", kinds)
    source: OciSource = source_over(registry)
    listing = source.list(source.resolve())
    next(iter(listing))
    listing.close()  # type: ignore[attr-defined]
    source.close()
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(NAMES.filter(lambda name: not name.endswith("/")), st.binary(max_size=2000)),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_tar_is_read_as_pythons_own_writer_meant_it(files: dict[str, bytes], form: int) -> None:
    out = io.BytesIO()
    written = {}
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            try:
                tar.addfile(member, io.BytesIO(data))
            except ValueError:
                continue  # too long for ustar
            written[name.encode()] = data
    reader = Tar(io.BytesIO(out.getvalue()))
    found = {member.name: b"".join(reader.data()) for member in reader.members()}
    assert found == written


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 1500), st.binary(max_size=20))
def test_no_bytes_make_the_reader_do_anything_but_read_or_refuse(
    noise: bytes, at: int, change: bytes
) -> None:
    whole = bytearray(tar_of({"a" * 120: b"x" * 600, "caf\u00e9": b"y"}))
    whole[at : at + len(change)] = change
    for data in (noise, bytes(whole)):
        reader = Tar(io.BytesIO(data))
        try:
            for member in reader.members():
                assert sum(map(len, reader.data())) == member.size
        except MalformedError:
            pass


def test_lengths_that_would_fill_the_memory_are_refused() -> None:
    member = tarfile.TarInfo("a")
    for flag, size in ((b"x", 2**30), (b"L", 2**30), (b"g", 2**30), (b"0", 2**60)):
        member.type, member.size = flag, size
        header = member.tobuf(tarfile.GNU_FORMAT)
        with pytest.raises(MalformedError):
            list(Tar(io.BytesIO(header + bytes(2048))).members())


def test_an_extended_header_of_everything_may_not_rename() -> None:
    data = tarfile.TarInfo.create_pax_global_header({"path": "evil"})
    with pytest.raises(MalformedError, match="global header"):
        list(Tar(io.BytesIO(data + tar_of({"a": b""}))).members())
    data = tarfile.TarInfo.create_pax_global_header({"comment": "fine"})
    assert [member.name for member in Tar(io.BytesIO(data + tar_of({"a": b""}))).members()] == [
        b"a"
    ]


def test_a_file_above_hides_a_folder_below() -> None:
    def layer(*paths: str) -> Opened:
        return Opened(entries=[Entry(path=path, size=0) for path in paths])

    found: list[Entry] = []
    overlay([layer("a"), layer("a/b", "c/d"), layer("c/e")], found.append)
    assert [entry.path for entry in found] == ["a", "c/d", "c/e"]
