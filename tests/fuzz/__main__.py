"""Fuzz what reads the bytes of strangers, by coverage: `make fuzz`, FUZZ_SECONDS for each target (60).

Each target runs in a process of its own, from the inputs of targets.py on, in a corpus that is thrown away. The run ends with status 1
when an input broke a promise; the input is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))
MEMORY_MB = 1024
INPUT_S = 10


def main() -> int:
    """Run the targets named, or all; give the exit status."""
    import atheris

    with atheris.instrument_imports(include=["microhost"]):
        from tests.fuzz.targets import TARGETS
    if sys.argv[1:2] == ["--only"]:
        target = TARGETS[sys.argv[2]]
        atheris.Setup([sys.argv[0], *sys.argv[3:]], target.try_one)
        atheris.Fuzz()
        return 0
    failed = []
    for name in sys.argv[1:] or TARGETS:
        target = TARGETS[name]
        with tempfile.TemporaryDirectory(prefix="microhost-corpus-") as corpus:
            for number, seed in enumerate(target.seeds):
                (Path(corpus) / f"seed{number}").write_bytes(seed)
            options = [
                f"-max_total_time={SECONDS}",
                f"-max_len={target.longest}",
                f"-rss_limit_mb={MEMORY_MB}",
            ]
            options += [
                f"-timeout={INPUT_S}",
                f"-artifact_prefix={corpus}/found-",
                "-print_final_stats=1",
                corpus,
            ]
            done = subprocess.run(
                [sys.executable, "-m", "tests.fuzz", "--only", name, *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            said = done.stdout.decode(errors="replace").splitlines()
            runs = next((each.split()[-1] for each in said if "number_of_executed_units" in each), "?")
            print(
                f"{name}: {runs} inputs in {SECONDS} s, {'held' if done.returncode == 0 else 'BROKEN'}",
                flush=True,
            )
            if done.returncode != 0:
                failed.append(name)
                print("\n".join(said[-40:]))
                for each in Path(corpus).glob("found-*"):
                    print(f"input: {each.read_bytes()!r}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
