"""Where a store may be written, and over what: SQLite's WAL needs memory and locks of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from manifestd.errors import ConfigError, MalformedError

_MAGIC: Final = b"SQLite format 3\0"
_NETWORK: Final = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs",
})  # fmt: skip
_NETWORK_FUSE: Final = (
    "blobfuse", "ceph", "gcsfuse", "gluster", "goofys", "juicefs", "mount-s3", "mountpoint-s3",
    "rclone", "s3fs", "sshfs",
)  # fmt: skip


def refuse_network(directory: Path, mounts: str | None = None) -> None:
    """Refuse to write a store below a network file system.

    Args:
        directory: Where the store will be; need not exist.
        mounts: Text in the form of ``/proc/mounts``; None reads that file. Where there
            is none (not Linux) nothing is refused.

    Raises:
        ConfigError: It is on one.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return
    kind = filesystem_of(directory.resolve(), mounts)
    if kind in _NETWORK or (kind.startswith("fuse.") and kind[5:].startswith(_NETWORK_FUSE)):
        raise ConfigError(
            f"the store cannot be written on a network file system ({kind}): {directory}",
            why="SQLite's write-ahead log needs memory and locks shared by all its processes",
            hint="put the store on a local disk (--store) and copy it with `manifestd store backup`",
            facts={"filesystem": kind, "directory": str(directory)},
        )


def filesystem_of(path: Path, mounts: str) -> str:
    r"""The type of the file system that holds an absolute, resolved path; "" when unknown.

    Example:
        >>> filesystem_of(Path("/srv/a"), "/dev/sda / ext4 rw 0 0\nhost:/x /srv nfs4 rw 0 0\n")
        'nfs4'
    """
    best, kind = Path(), ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        # The last of equal mount points hides the earlier ones.
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fields[2]
    return kind


def _unescaped(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def refuse_other(path: Path) -> None:
    """Refuse a file that cannot become a store, before SQLite takes one byte for an empty file.

    Raises:
        MalformedError: It is neither empty nor SQLite's.
    """
    if not path.is_file():
        return  # there is none yet, or reading a pipe would wait for ever
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError:
        return  # SQLite says what is wrong
    if not _MAGIC.startswith(head):
        raise MalformedError(
            f"not a manifestd store: {path}", hint="choose another file with --store"
        )
