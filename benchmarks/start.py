"""How long commands take to start, beside the least that their libraries take, in one run.

    python benchmarks/start.py [--rounds 31]

Whole processes in turns, the best of the rounds counts: starting up has a floor, and whatever
is above it is other work on the machine. ``diff`` and ``verify`` read the checked-in example.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from time import perf_counter

BIN = Path(sys.executable).parent
EXAMPLE = Path(__file__).parents[1] / "snapshots" / "tiny" / "manifestd.toml"
BASE = "python -c 'import click, msgspec'"
ON_EXAMPLE = [str(BIN / "manifestd"), "--config", str(EXAMPLE)]
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    BASE: [sys.executable, "-c", "import click, msgspec"],
    "manifestd --version": [str(BIN / "manifestd"), "--version"],
    "manifestd diff --help": [str(BIN / "manifestd"), "diff", "--help"],
    "manifestd diff (different)": [*ON_EXAMPLE, "diff", "hf://acme/tiny@v1", "hf://acme/tiny@v2"],
    "manifestd diff (identical)": [*ON_EXAMPLE, "diff", "hf://acme/tiny@v1", "hf://acme/tiny@v1"],
    "manifestd verify": [*ON_EXAMPLE, "verify", "hf://acme/tiny@v1"],
    "model_signing --help": [str(BIN / "model_signing"), "--help"],
    "hf --help": [str(BIN / "hf"), "--help"],
}
GOAL = ("manifestd diff --help", 2.0)
"""At most so many times the base."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    commands = {name: argv for name, argv in COMMANDS.items() if Path(argv[0]).exists()}
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(options.rounds):
        for name, argv in commands.items():
            started = perf_counter()
            subprocess.run(argv, capture_output=True, check=False)
            best[name] = min(best[name], perf_counter() - started)
    for name, seconds in best.items():
        print(f"{name:36} {1000 * seconds:7.0f} ms  {seconds / best[BASE]:5.2f}x")
    name, most = GOAL
    ratio = best[name] / best[BASE]
    print(f"goal: {name} at most {most:.1f}x of {BASE}: {'met' if ratio <= most else 'MISSED'}")


if __name__ == "__main__":
    main()
