"""References: a user's name for a place or for something stored (contract, section 2)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import msgspec

from manifestd.errors import UsageError

RepoType = Literal["model", "dataset", "space"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?\Z")
_PAGE = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/((?:datasets/|spaces/)?[\w.-]+(?:/[\w.-]+)?)"
    r"(?:/(?:tree|blob|resolve)/([^/?#\s]+)[^?#\s]*)?/?(?:[?#]\S*)?"
)
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?\Z")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{1,254}\Z")


class HubReference(msgspec.Struct, frozen=True, kw_only=True):
    """``hf://org/name[@revision]``, ``hf://datasets/…``, ``hf://spaces/…``; also ``hf-cache://``."""

    repo_id: str
    repo_type: RepoType = "model"
    revision: str | None = None
    scheme: Literal["hf", "hf-cache"] = "hf"

    def place(self) -> str:
        """The reference without its revision: what snapshots are filed under."""
        prefix = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{self.scheme}://{prefix}{self.repo_id}"

    def __str__(self) -> str:
        return self.place() + (f"@{self.revision}" if self.revision else "")


class S3Reference(msgspec.Struct, frozen=True, kw_only=True):
    """``s3://bucket/prefix/``. The prefix is literal: nothing is normalised or decoded.

    A prefix is a folder: it is empty or ends in ``/``.
    """

    bucket: str
    prefix: str = ""
    scheme: Literal["s3"] = "s3"

    def place(self) -> str:
        """The reference itself; S3 prefixes have no revision."""
        return f"s3://{self.bucket}/{self.prefix}"

    def __str__(self) -> str:
        return self.place()


class DirectoryReference(msgspec.Struct, frozen=True, kw_only=True):
    """A path, or ``file:///abs/path``. Kept absolute."""

    path: str
    scheme: Literal["file"] = "file"

    def place(self) -> str:
        """``file://`` and the absolute path."""
        return f"file://{self.path}"

    def __str__(self) -> str:
        return self.place()


class OciReference(msgspec.Struct, frozen=True, kw_only=True):
    """``oci://host/repo:tag`` or ``oci://host/repo@sha256:…``."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None
    scheme: Literal["oci"] = "oci"

    def place(self) -> str:
        """The repository without tag or digest."""
        return f"oci://{self.host}/{self.repository}"

    def __str__(self) -> str:
        suffix = f"@{self.digest}" if self.digest else f":{self.tag or 'latest'}"
        return self.place() + suffix


Reference = HubReference | S3Reference | DirectoryReference | OciReference


def parse_hub(text: str, *, scheme: Literal["hf", "hf-cache"] = "hf") -> HubReference:
    """Parse the part after ``hf://``, or a bare ``org/name[@revision]``.

    Raises:
        UsageError: Not a repository name.
    """
    body = text.removeprefix(f"{scheme}://")
    name, at, revision = body.partition("@")
    repo_type: RepoType = "model"
    for kind in ("dataset", "space", "model"):
        if name.startswith(f"{kind}s/") and name.count("/") >= 2:
            repo_type, name = kind, name.partition("/")[2]
            break
    if not _HUB_NAME.match(name) or (at and not revision) or ".." in name or "--" in name:
        raise UsageError(
            f"not a Hub repository: {text!r}",
            hint="write hf://org/name, hf://datasets/org/name@revision or hf://spaces/org/name",
        )
    if revision and (
        len(revision) > 255 or any(c.isspace() or not c.isprintable() for c in revision)
    ):
        raise UsageError(f"not a revision: {revision!r}")
    return HubReference(repo_id=name, repo_type=repo_type, revision=revision or None, scheme=scheme)


def parse_s3(text: str) -> S3Reference:
    """Parse ``s3://bucket/prefix``; the prefix is taken literally, as the folder it means.

    ``s3://b/p`` and ``s3://b/p/`` are one place, whose snapshots are filed together.

    Raises:
        UsageError: No bucket, or a prefix over 1,024 bytes.
    """
    body = text.removeprefix("s3://")
    if body.startswith("arn:"):
        # Access point ARNs hold slashes: arn:aws:s3:region:account:accesspoint/name[/prefix]
        head, sep, rest = body.partition("accesspoint/")
        name, _, prefix = rest.partition("/")
        bucket = head + sep + name
    else:
        bucket, _, prefix = body.partition("/")
    if not _BUCKET.match(bucket):
        raise UsageError(f"not a bucket: {text!r}", hint="write s3://bucket/prefix/")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    if len(prefix.encode()) > 1024:
        raise UsageError("an S3 prefix has at most 1,024 bytes")
    return S3Reference(bucket=bucket, prefix=prefix)


def parse_directory(text: str) -> DirectoryReference:
    """Parse a path or ``file://`` URL to an absolute path without ``..``; symlinks are kept.

    Raises:
        UsageError: A file URL with a host, or no path at all.
    """
    if text.startswith("file://"):
        if not text.startswith("file:///"):
            raise UsageError(f"a file URL has no host: {text!r}", hint="write file:///abs/path")
        text = unquote(text.removeprefix("file://"))
    if not text or "\0" in text:  # an unset variable must not become the working directory
        raise UsageError(f"not a directory: {text!r}", hint="the working directory is written .")
    path = Path(text).absolute()
    if ".." in path.parts:
        # One place has one name. What is above a symlink only the file system knows.
        end = len(path.parts) - path.parts[::-1].index("..")
        path = Path(*path.parts[:end]).resolve().joinpath(*path.parts[end:])
    return DirectoryReference(path=str(path))


def parse_oci(text: str) -> OciReference:
    """Parse ``oci://host[:port]/repo[:tag|@sha256:…]``.

    Raises:
        UsageError: Not of that form.
    """
    body = text.removeprefix("oci://")
    host, slash, rest = body.partition("/")
    if "@" in host:
        raise UsageError(
            "an OCI reference holds no credentials", hint="log in instead: docker login HOST"
        )
    name, at, digest = rest.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon:
        repository, tag = name, ""
    if (
        not slash
        or not re.fullmatch(r"[a-z0-9]+([._/-]+[a-z0-9]+)*", repository)
        or not _is_host(host)
    ):
        raise UsageError(f"not an OCI reference: {text!r}", hint="write oci://host/repo:tag")
    if tag and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag):
        raise UsageError(f"not an OCI tag: {tag!r}")
    if at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise UsageError(
            f"not an OCI digest: {digest!r}", hint="write oci://host/repo@sha256: and 64 hex digits"
        )
    return OciReference(host=host, repository=repository, tag=tag or None, digest=digest or None)


def _is_host(text: str) -> bool:
    found = _HOST.match(text)
    return found is not None and int(found[2] or 0) <= 65535


def of_page(text: str) -> str | None:
    """The reference that the address of a page of the Hub stands for; None for any other text.

    Example:
        >>> of_page("https://huggingface.co/openai-community/gpt2/tree/main")
        'hf://openai-community/gpt2@main'
    """
    found = _PAGE.fullmatch(text)
    if found is None:
        return None
    revision = f"@{unquote(found[2])}" if found[2] else ""
    return f"hf://{found[1]}{revision}"


def parse_reference(text: str) -> Reference:
    """Parse any source reference by its scheme; text without a scheme is a path.

    Raises:
        UsageError: An unknown scheme, or a malformed reference.
    """
    if text.startswith("hf://"):
        return parse_hub(text)
    if text.startswith("hf-cache://"):
        return parse_hub(text, scheme="hf-cache")
    if text.startswith("s3://"):
        return parse_s3(text)
    if text.startswith("oci://"):
        return parse_oci(text)
    if "://" in text and not text.startswith("file://"):
        meant = of_page(text)
        raise UsageError(
            f"unknown kind of reference: {text!r}",
            hint=f"write {meant}"
            if meant
            else "known are hf://, s3://, oci://, hf-cache://, file:// and paths",
        )
    return parse_directory(text)
