"""`firstcause-alerts check|compile|explain|test`: exit 0 when all is well, 1 when files differ or a test fails, 2 when
the specification or the command line cannot work; then nothing is written.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import output
from .explain import explain
from .model import Spec
from .problems import SpecError
from .spec import load
from .timing import Timing

SLOS, GENERATED = Path("alerts/slos.yml"), Path("alerts/generated")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    # First, since it is a ValueError too, and prints a line for each problem.
    except SpecError as error:
        print(error, file=sys.stderr)
        print(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}; nothing was written", file=sys.stderr)
    except (OSError, ValueError) as error:
        print(f"firstcause-alerts: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="firstcause-alerts", description="Objectives to alerts that name their cause."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, command, says in (
        ("check", _check, "say everything that cannot work, and whether the generated files are up to date"),
        ("compile", _compile, "write rules, Alertmanager's configuration, tests and the SDK's objectives"),
        ("explain", _explain, "say in words when an objective pages"),
        ("test", _test, "run the generated tests with promtool"),
    ):
        one = commands.add_parser(name, help=says, description=says)
        one.set_defaults(command=command)
        one.add_argument("slos", nargs="?", type=Path, default=SLOS, help=f"the SLO file ({SLOS})")
        _options(one, name)
    return parser


def _options(one: argparse.ArgumentParser, name: str) -> None:
    if name in ("check", "compile"):
        one.add_argument(
            "--to", type=Path, default=None, help="the folder of the generated files (generated/ beside the file)"
        )
        one.add_argument(
            "--scrape", type=float, default=None, metavar="SECONDS", help="Prometheus' scrape interval (15)"
        )
    if name == "compile":
        one.add_argument(
            "--time-scale", type=float, default=1.0, metavar="N", help="shrink all windows N times, for a demo"
        )
        one.add_argument("--receiver", default="", metavar="URL", help="send every notification there instead")
    if name == "explain":
        one.add_argument("--slo", default="", help="one SLO by its name (all)")
        one.add_argument("--per-hour", type=float, default=60.0, metavar="N", help="requests per hour (60)")
    if name == "test":
        one.add_argument("--promtool", default="", help="the program (found on PATH)")


def _load(options: argparse.Namespace) -> Spec:
    # A binary file then fails as YAML, with file and line; a UnicodeDecodeError would name neither.
    return load(options.slos.read_text("utf-8", errors="replace"), str(options.slos))


def _folder(options: argparse.Namespace) -> Path:
    return Path(options.to or options.slos.parent / "generated")


def _check(options: argparse.Namespace) -> int:
    timing = Timing.of(1, options.scrape)
    spec = output.checked(options.slos, timing)
    folder = _folder(options)
    stale = output.differences(output.render(spec, timing), folder) if folder.is_dir() else []
    for problem in stale:
        print(problem, file=sys.stderr)
    print(
        f"{options.slos}: {len(spec.slos)} objectives, "
        + (f"{len(stale)} generated files differ" if stale else "all well")
    )
    return 1 if stale else 0


def _compile(options: argparse.Namespace) -> int:
    to = _folder(options)
    written = output.compile(
        options.slos, to, time_scale=options.time_scale, scrape_s=options.scrape, receiver=options.receiver
    )
    print(f"{to}: {', '.join(sorted(written))}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    spec = _load(options)
    chosen = [slo for slo in spec.slos if options.slo in ("", slo.name)]
    if not chosen:
        raise ValueError(f"there is no SLO {options.slo}; there are " + ", ".join(slo.name for slo in spec.slos))
    print("\n\n".join(explain(slo, spec, options.per_hour) for slo in chosen))
    return 0


def _test(options: argparse.Namespace) -> int:
    rendered = output.render(output.checked(options.slos, Timing()))
    promtool = options.promtool or shutil.which("promtool")
    if not promtool:
        raise ValueError("promtool is missing: put it on PATH (it comes with Prometheus), or name it with --promtool")
    with tempfile.TemporaryDirectory() as folder:
        # Rendered afresh: what would be written is tested, not what an earlier compilation left.
        output.write(rendered, Path(folder) / "generated")
        names = sorted(name for name in rendered if name.startswith("tests"))
        done = subprocess.run([promtool, "test", "rules", *names], cwd=Path(folder) / "generated", check=False)
    # Not promtool's own code: 2 stands for a specification that cannot work.
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
