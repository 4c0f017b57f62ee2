"""Hashing local model trees: manifestd beside its peers, in one run, as ratios.

    python benchmarks/local.py                 # 8 x 512 MiB, 20,000 x 16 KiB, one 4 GiB file
    python benchmarks/local.py --case small --rounds 5
    python benchmarks/local.py --scale 0.1     # a quick look with a tenth of the bytes

Every command is a whole process, its page cache warm, its store fresh; commands
take turns round by round, and the median counts. Absolute seconds belong to the
machine of the day: quote ratios. A machine that does other work meanwhile shows
in the wall times first; the CPU seconds say what was really spent.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

BIN = Path(sys.executable).parent
MIB = 1024 * 1024


class Run(NamedTuple):
    wall: float
    cpu: float
    rss: float


class Command(NamedTuple):
    name: str
    argv: list[str]
    prepare: Callable[[], None] = lambda: None


class Goal(NamedTuple):
    """``left`` takes at most ``most`` times as long as ``right``."""

    left: str
    right: str
    most: float


class Case(NamedTuple):
    title: str
    tree: Path
    commands: list[Command]
    goals: list[Goal]


def run(command: Command, folder: Path) -> Run:
    command.prepare()
    with (folder / "output").open("wb") as output:
        start = perf_counter()
        process = subprocess.Popen(command.argv, stdout=output, stderr=output, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        wall = perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = (folder / "output").read_text(errors="replace")
        sys.exit(f"{command.name} failed ({process.returncode}):\n{text[-2000:]}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def make_tree(folder: Path, count: int, size: int) -> Path:
    """Files of random bytes, thirty to a directory, as model repositories are."""
    block = os.urandom(min(size, MIB))
    for number in range(count):
        file = folder / f"d{number // 30:04d}" / f"f{number % 30:02d}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            out.write(number.to_bytes(8, "big"))
            left = size - 8
            while left > 0:
                left -= out.write(block[:left])
    return folder


def warm(tree: Path) -> None:
    for file in tree.rglob("*"):
        if file.is_file():
            with file.open("rb") as content:
                while content.read(MIB):
                    pass


def xargs(tree: Path, jobs: int, batch: int, *command: str) -> list[str]:
    pipeline = 'find "$1" -type f -print0 | xargs -0 -P"$2" -n"$3" '
    pipeline += " ".join(command)
    return ["sh", "-c", pipeline, "sh", str(tree), str(jobs), str(batch)]


def manifestd(folder: Path, tree: Path, *options: str) -> Command:
    store = folder / "bench.db"

    def fresh() -> None:
        for file in folder.glob("bench.db*"):
            file.unlink()

    argv = [str(BIN / "manifestd"), "--quiet", "--store", str(store)]
    return Command("manifestd snapshot dir", [*argv, "snapshot", "dir", str(tree), *options], fresh)


def again(folder: Path, tree: Path) -> Command:
    argv = [str(BIN / "manifestd"), "--quiet", "--store", str(folder / "bench.db")]
    return Command("manifestd, unchanged", [*argv, "snapshot", "dir", str(tree)])


def model_signing(folder: Path, tree: Path) -> Command:
    argv = [str(BIN / "model_signing"), "sign", "key", str(tree)]
    argv += ["--private_key", str(folder / "peer.pem"), "--signature", str(folder / "peer.sig")]
    return Command("model_signing sign key", argv)


def peers(folder: Path, tree: Path, batch: int) -> list[Command]:
    found = [
        Command("openssl x2", xargs(tree, 2, batch, "openssl", "dgst", "-sha256")),
        Command("sha256sum x2", xargs(tree, 2, batch, "sha256sum")),
    ]
    if (BIN / "model_signing").exists():
        found.append(model_signing(folder, tree))
    return found


def big(folder: Path, scale: float) -> Case:
    title = f"8 files of {512 * scale:g} MiB"
    return of_large_files(folder, title, make_tree(folder / "big", 8, int(512 * MIB * scale)))


def one(folder: Path, scale: float) -> Case:
    title = f"one file of {4096 * scale:g} MiB"
    return of_large_files(folder, title, make_tree(folder / "one", 1, int(4096 * MIB * scale)))


def of_large_files(folder: Path, title: str, tree: Path) -> Case:
    return Case(
        title,
        tree,
        [*peers(folder, tree, 1), manifestd(folder, tree)],
        [
            Goal("manifestd snapshot dir", "openssl x2", 1.05),
            Goal("manifestd snapshot dir", "model_signing sign key", 1 / 1.1),
        ],
    )


def small(folder: Path, scale: float) -> Case:
    count = int(20_000 * scale)
    tree = make_tree(folder / "small", count, 16 * 1024)
    return Case(
        f"{count} files of 16 KiB",
        tree,
        [*peers(folder, tree, 2500), manifestd(folder, tree), again(folder, tree)],
        [Goal("manifestd snapshot dir", "model_signing sign key", 1 / 4)],
    )


CASES: dict[str, Callable[[Path, float], Case]] = {"big": big, "small": small, "one": one}


def report(case: Case, runs: dict[str, list[Run]]) -> None:
    wall = {name: statistics.median(each.wall for each in found) for name, found in runs.items()}
    cpu = {name: statistics.median(each.cpu for each in found) for name, found in runs.items()}
    base = "openssl x2"
    print(f"\n{case.title}, median of {len(runs[base])}; ratios to {base}")
    print(f"{'command':26}{'ratio':>8}{'wall s':>9}{'cpu ratio':>11}{'cpu s':>8}{'RSS MiB':>9}")
    for name, found in runs.items():
        rss = max(each.rss for each in found)
        print(
            f"{name:26}{wall[name] / wall[base]:8.2f}{wall[name]:9.2f}"
            f"{cpu[name] / cpu[base]:11.2f}{cpu[name]:8.2f}{rss:9.0f}"
        )
    for goal in case.goals:
        if goal.left not in wall or goal.right not in wall:
            continue
        pairs = sorted(
            ours.wall / theirs.wall
            for ours, theirs in zip(runs[goal.left], runs[goal.right], strict=True)
        )
        ratio = statistics.median(pairs)
        word = "reached" if ratio <= goal.most else "MISSED"
        print(
            f"{goal.left} / {goal.right} = {ratio:.2f} [{pairs[0]:.2f}, {pairs[-1]:.2f}], "
            f"goal at most {goal.most:.2f}: {word}"
        )


@contextlib.contextmanager
def workplace(parent: str | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="manifestd-bench-", dir=parent))
    try:
        subprocess.run(
            [str(BIN / "manifestd"), "init"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        key = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"]
        subprocess.run([*key, "-out", str(folder / "peer.pem")], check=True)
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full data")
    parser.add_argument("--dir", help="where the data is made (needs some 5 GiB)")
    options = parser.parse_args()
    for name in options.case or CASES:
        with workplace(options.dir) as folder:
            case = CASES[name](folder, options.scale)
            warm(case.tree)
            runs: dict[str, list[Run]] = {command.name: [] for command in case.commands}
            for _ in range(options.rounds):
                for command in case.commands:
                    runs[command.name].append(run(command, folder))
            report(case, runs)


if __name__ == "__main__":
    main()
