"""Run the fuzzers for a given time, one process each, and print what they did.

make fuzz SECONDS=60        all targets, a minute together
python fuzz/run.py --target decoder --input .fuzz/decoder/crash-…      one input again
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / ".fuzz"
MAX_BYTES: Final = 4_096


def _fuzz(name: str, seconds: int, corpus: Path) -> None:
    """In a process of its own: let atheris look for an input that breaks a target."""
    import atheris  # noqa: PLC0415 - not installed where only one input is run

    with atheris.instrument_imports(include=["phantom_messenger"]):
        from targets import TARGETS  # noqa: PLC0415 - instrumented while it is imported

    target = TARGETS[name]
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    flags = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-artifact_prefix={corpus}/", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *flags, "-print_final_stats=1", str(corpus)], target.run)
    atheris.Fuzz()


def _figures(output: str) -> tuple[int, int, int]:
    """Executions, executions a second, and places of code that were reached."""
    found = [
        re.findall(pattern, output)
        for pattern in (r"number_of_executed_units: (\d+)", r"average_exec_per_sec: +(\d+)", r"cov: (\d+)")
    ]
    executed, rate, reached = (int(numbers[-1]) if numbers else 0 for numbers in found)
    return executed, rate, reached


def main() -> int:
    """Run what was asked for; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", help="this one alone")
    parser.add_argument("--input", type=Path, help="run this file once, without looking further")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "src")]
    if options.child:
        _fuzz(options.target, options.seconds, FOLDER / options.target)
        return 0
    from targets import TARGETS  # noqa: PLC0415 - the child's must be instrumented

    if options.input:
        TARGETS[options.target].run(options.input.read_bytes())
        return 0
    names = [options.target] if options.target else list(TARGETS)
    share = max(options.seconds // len(names), 1)
    print(f"{'target':<12}{'executions':>12}{'a second':>10}{'reached':>9}  result")
    total, found = 0, []
    for name in names:
        corpus = FOLDER / name
        corpus.mkdir(parents=True, exist_ok=True)
        print(f"{name:<12}{f'{share} s ...':>12}", end="\r", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--child", "--target", name, "--seconds", str(share)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        executed, rate, reached = _figures(done.stderr)
        total += executed
        bad = done.returncode != 0
        print(f"{name:<12}{executed:>12,}{rate:>10,}{reached:>9,}  {'FOUND SOMETHING' if bad else 'ok'}")
        if bad:
            found.append(name)
            kept = sorted(corpus.glob("crash-*"), key=lambda path: path.stat().st_mtime)
            print(done.stderr[-3_000:])
            if kept:
                print(f"again: {sys.executable} fuzz/run.py --target {name} --input {kept[-1].relative_to(ROOT)}")
    print(f"{'all':<12}{total:>12,}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
