"""``demo``: the main job with no account and no network, by the very commands a user would type."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from manifestd.cli.output import emit
from manifestd.errors import UsageError


@click.command(epilog="Exit codes: 0 the demo went as it should, 70 it did not.")
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
def demo(directory: Path | None) -> int:
    """See the main job: snapshot both sides of two models, compare, verify.

    A Hub and an S3 server are started on loopback with two small models: one
    whose mirror is exact, one whose mirror has drifted. Every step is an
    ordinary command and is shown before it runs. With DIRECTORY the store, the
    key and the configuration are kept there.
    """
    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manifestd-")))
        elif directory.exists() and any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty", hint="name a new directory for the demo")
        return _Demo(directory, stack).run()


class _Demo:
    """The walk; each step runs a command in this process and checks its exit code."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.step = 0
        self.wrong: list[str] = []

    def run(self) -> int:
        self._servers()
        config = str(self.directory / "manifestd.toml")
        self._do(
            "Make a configuration, a signing key and the store.", ["init", str(self.directory)]
        )
        base = ["--config", config]
        self._do(
            "Snapshot the reference on the Hub. The weights' sha256 comes from the listing; only "
            "small files and tensor headers are read.",
            [*base, "snapshot", "hf", "acme/tiny-clean"],
        )
        self._do(
            "Snapshot its mirror in S3. Objects without a stored sha256 are streamed and hashed.",
            [*base, "snapshot", "s3", "s3://models/tiny-clean/"],
        )
        self._do(
            "Compare the two, offline. Same manifest digest: the same files, bit for bit.",
            [*base, "diff", "hf://acme/tiny-clean", "s3://models/tiny-clean/"],
        )
        self._do(
            "Now a model whose mirror has drifted.",
            [*base, "-q", "snapshot", "hf", "acme/tiny-drift"],
        )
        self._do(None, [*base, "-q", "snapshot", "s3", "s3://models/tiny-drift/"])
        self._do(
            "Every difference with its evidence; exit code 1 stops a pipeline.",
            [*base, "diff", "hf://acme/tiny-drift", "s3://models/tiny-drift/"],
            expected=1,
        )
        self._do(
            "Check the stored evidence itself: digests, signatures, trust.",
            [*base, "verify", "hf://acme/tiny-clean", "s3://models/tiny-drift/"],
        )
        self._do("What the store holds.", [*base, "list"])
        self._closing()
        for text in self.wrong:
            emit(f"NOT AS EXPECTED: {text}\n")
        return 70 if self.wrong else 0

    def _servers(self) -> None:
        from manifestd.loopback.hub import LoopbackHub
        from manifestd.loopback.models import drifted, tiny_model
        from manifestd.loopback.s3 import LoopbackS3

        hub = self.stack.enter_context(LoopbackHub())
        bucket = self.stack.enter_context(LoopbackS3())
        self.stack.enter_context(
            _environment(
                HF_ENDPOINT=hub.endpoint,
                HF_HUB_DISABLE_IMPLICIT_TOKEN="1",  # noqa: S106  (a switch)
                AWS_ENDPOINT_URL_S3=bucket.endpoint,
                AWS_ACCESS_KEY_ID="demo",
                AWS_SECRET_ACCESS_KEY="demo",  # noqa: S106  (moto checks none)
                AWS_DEFAULT_REGION="us-east-1",
                AWS_EC2_METADATA_DISABLED="true",
            )
        )
        clean, drift = tiny_model("acme/tiny-clean"), tiny_model("acme/tiny-drift")
        hub.add_repo("acme/tiny-clean", clean, lfs={"model.safetensors"})
        hub.add_repo("acme/tiny-drift", drift, lfs={"model.safetensors"})
        bucket.put("models", clean, "tiny-clean/")
        bucket.put("models", drifted(drift), "tiny-drift/")
        emit(f"A Hub with acme/tiny-clean and acme/tiny-drift runs at {hub.endpoint},\n")
        emit(f"an S3 server with their mirrors in s3://models/ at {bucket.endpoint}.\n")

    def _do(self, why: str | None, arguments: list[str], expected: int = 0) -> None:
        from manifestd.cli.main import run

        if why is not None:
            self.step += 1
            emit(f"\n{self.step}. {why}\n")
        shown = shlex.join(part for part in arguments if part not in self._hidden())
        emit(f"\n$ manifestd {shown}\n")
        code = run(arguments)
        if code != expected:
            self.wrong.append(f"`manifestd {shown}` ended with {code}, expected {expected}")
        elif code:
            emit(f"(exit code {code})\n")

    def _hidden(self) -> set[str]:
        return {"--config", str(self.directory / "manifestd.toml")}

    def _closing(self) -> None:
        emit(
            "\nThe same with a real repository and bucket:\n\n"
            "    manifestd init\n"
            "    manifestd snapshot hf openai-community/gpt2\n"
            "    manifestd snapshot s3 s3://YOUR-BUCKET/gpt2/\n"
            "    manifestd diff hf://openai-community/gpt2 s3://YOUR-BUCKET/gpt2/\n"
        )


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables for a while; no proxy may stand between us and loopback."""
    unset = ("AWS_PROFILE", "HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    before = {key: os.environ.get(key) for key in (*values, *unset)}
    os.environ.update(values)
    for key in unset:
        os.environ.pop(key, None)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
