"""The command line's door: global options, the table of commands, errors to exit codes."""

from __future__ import annotations

import gc
import importlib
import signal
import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click

from manifestd._version import __version__
from manifestd.cli.context import Context
from manifestd.cli.streams import forgive
from manifestd.errors import ManifestdError, UsageError
from manifestd.model.failure import Failure, failure_of

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("manifestd.cli.init:init", "Write a configuration, a signing key and the store."),
    "demo": ("manifestd.cli.demo:demo", "See the main job with no account and no network."),
    "snapshot": ("manifestd.cli.snapshot:snapshot", "Take, sign and store a snapshot."),
    "diff": ("manifestd.cli.diff:diff", "Compare two snapshots offline."),
    "run": ("manifestd.cli.run:run", "Judge every model of the configuration."),
    "status": ("manifestd.cli.status:status", "Show how every model stands."),
    "verify": ("manifestd.cli.verify:verify", "Check content addresses, signatures and trust."),
    "list": ("manifestd.cli.list:list_", "List the snapshots in the store."),
    "show": ("manifestd.cli.show:show", "Show one snapshot."),
    "files": ("manifestd.cli.files:files", "List the files of a snapshot."),
    "whereis": ("manifestd.cli.whereis:whereis", "Find a digest in all snapshots."),
    "tag": ("manifestd.cli.tag:tag", "Give a stored snapshot a name, or move a name."),
    "approve": ("manifestd.cli.approve:approve", "Approve bytes for a tag; see who is missing."),
    "gate": ("manifestd.cli.gate:gate", "Say whether bytes may be used as NAME:TAG, now."),
    "lock": ("manifestd.cli.lock:lock", "Pin snapshots in a file that the consumer keeps."),
    "log": ("manifestd.cli.history_log:log", "Show the history; checkpoints and proofs of it."),
    "history": ("manifestd.cli.history:history", "Write the release ledger."),
    "policy": ("manifestd.cli.policy:policy", "Hold stored snapshots against the policy."),
    "lint": ("manifestd.cli.lint:lint", "Look for anomalies over the whole store."),
    "discover": ("manifestd.cli.discover:discover", "Propose models, and say what is not covered."),
    "export": ("manifestd.cli.export:export", "Write snapshots in the formats of other tools."),
    "import": ("manifestd.cli.import_:import_", "Bring evidence from elsewhere into the store."),
    "push": ("manifestd.cli.push:push", "Put a snapshot and its signatures into a registry."),
    "pull": ("manifestd.cli.pull:pull", "Bring snapshots out of a registry, verified."),
    "oms": ("manifestd.cli.oms:oms", "Check OpenSSF model signatures from stored digests."),
    "metrics": ("manifestd.cli.metrics:metrics", "Write a Prometheus text file of the runs."),
    "report": ("manifestd.cli.report:report", "Make a static dashboard of the runs."),
    "key": ("manifestd.cli.key:key", "Make and show signing keys."),
    "store": ("manifestd.cli.store:store", "Check, rebuild, back up and prune the store."),
    "plugins": ("manifestd.cli.plugins:plugins", "List every plugin and who brings it."),
}
"""Command -> (``module:function``, one line of help). A command is imported when it runs."""


class LazyGroup(click.Group):
    """A group whose commands are imported when first used, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one there is."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of all commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="manifestd")
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False),
    envvar="MANIFESTD_CONFIG", help="The configuration (default: manifestd.toml here).",
)  # fmt: skip
@click.option(
    "--store", "store_file", type=click.Path(path_type=Path, dir_okay=False),
    envvar="MANIFESTD_STORE", help="The store (default: snapshots/manifestd.db).",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option("-v", "--verbose", is_flag=True, help="Say more; show traces of defects.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="How messages to people look on stderr.",
)  # fmt: skip
@click.pass_context
def cli(
    ctx: click.Context,
    *,
    config_file: Path | None,
    store_file: Path | None,
    quiet: bool,
    verbose: bool,
    log_format: str,
) -> None:
    """Is the model we run the model we approved?

    Takes signed snapshots of model repositories (Hugging Face Hub, S3,
    directories, Hub caches, OCI registries) and compares them offline.

    Exit codes: 0 nothing to report, 1 differences or findings, 2 wrong usage,
    3 could not be decided, 4 does not verify, 70 a defect, 130 interrupted.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            "the working directory is not there any more", hint="cd to one that exists"
        ) from error
    ctx.obj = Context(
        config_file=config_file,
        store_file=store_file,
        quiet=quiet,
        verbose=verbose,
        log_format=log_format,
    )
    from manifestd.cli.log import configure

    configure(quiet=quiet, verbose=verbose, log_format=log_format)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's code."""
    # What a command holds is mostly values without cycles: passing over them again and again
    # would cost a sixth of its time.
    gc.set_threshold(100_000, 20, 100)
    # A supervisor's polite end (systemd, Kubernetes) keeps what was done, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # before or after there was something to say it with
        code = 130
    gc.freeze()  # what a large command made need not be looked through once more to end
    sys.exit(code)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; the one place where errors become codes."""
    from manifestd.cli import output

    forgive()
    wants_json = _wants_json(arguments)
    try:
        result: Any = cli.main(args=arguments, prog_name="manifestd", standalone_mode=False)
    except ManifestdError as error:
        if wants_json:
            output.emit_json(failure_of(error))
        else:
            output.show_error(error)
        return error.exit_code
    except click.ClickException as error:
        return _usage(error, wants_json=wants_json)
    except (click.Abort, KeyboardInterrupt):
        if wants_json:
            output.emit_json(_failure("interrupted", "interrupted; what was done is kept", 130))
        else:
            output.say("Interrupted; what was done is kept.")
        return 130
    except Exception as error:
        verbose = "-v" in arguments or "--verbose" in arguments
        return _defect(error, verbose=verbose, wants_json=wants_json)
    return result if isinstance(result, int) else 0


def _wants_json(arguments: list[str]) -> bool:
    """Whether ``--format json`` stands in the arguments, parsed or not."""
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)


def _usage(error: click.ClickException, *, wants_json: bool) -> int:
    from manifestd.cli import output

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        output.say(error.format_message())  # no sentence, but the page of `--help`
    elif wants_json:
        output.emit_json(failure_of(_told(error)))
    else:
        output.show_error(_told(error))
    return 2


def _told(error: click.ClickException) -> UsageError:
    """What click found wrong, in our form."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return UsageError(error.format_message())
    name = error.option_name if isinstance(error, click.NoSuchOption) else None
    ours = next((option for option in cli.params if name in option.opts), None)
    if name is None or not isinstance(ours, click.Option):
        return UsageError(error.format_message(), hint=f"run `{context.command_path} --help`")
    first, _, rest = context.command_path.partition(" ")
    value = "" if ours.is_flag else " …"
    return UsageError(
        f"{name} is an option of {first}, not of `{context.command_path}`",
        hint=f"write it before the command: `{first} {name}{value} {rest}`",
    )


def _failure(code: str, what: str, exit_code: int, hint: str | None = None) -> Failure:
    """An error document for an ending that is no error of ours."""
    return Failure(code=code, what=what, why=None, hint=hint, facts={}, exit_code=exit_code)


def _defect(error: Exception, *, verbose: bool, wants_json: bool) -> int:
    import traceback

    from manifestd.cli import output
    from manifestd.redact import redact

    if verbose:
        output.say(redact("".join(traceback.format_exception(error))))
    what = f"a defect in manifestd: {type(error).__name__}: {redact(str(error))}"
    hint = "run again with --verbose and report the trace"
    if wants_json:
        output.emit_json(_failure("defect", what, 70, hint))
    else:
        output.say(f"Error: {what}")
        output.say(f"hint: {hint}")
    return 70
