"""Measures deepo-beam and its peers side by side; see docs/performance.md.

    python3 -m benchmarks.bench [--images 5000] [--rounds 3] [--only instant]

Makes the environments it needs, prints a table, and writes ``benchmarks/results/latest.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.bench import environments, report
from benchmarks.bench.contestants import Contestant, Scenario, scenarios
from benchmarks.bench.environments import LOOPS, ROOT
from benchmarks.bench.measure import FailedError, Service, commit, measure, posts_per_s, running_server

RESULTS = ROOT / "benchmarks" / "results"
_POST_PATH = "/v0.7/recognition/versions/21/inference"


def main() -> None:
    """Measure everything in rounds: all contestants once, then all again."""
    options = _options()
    chosen = [
        one for one in scenarios(options.images, options.large_images, options.slow_images) if _is_in(one, options)
    ]
    for environment in environments.ALL:
        environments.make(environment)
    runs: list[dict[str, Any]] = []
    ceiling: list[float] = []
    with tempfile.TemporaryDirectory(prefix="deepo-bench-") as made, running_server() as service:
        folder = Path(made)
        for number in range(1, options.rounds + 1):
            ceiling.append(posts_per_s(service, _POST_PATH))
            print(f"round {number}: the server takes {ceiling[-1]:,.0f} posts/s", flush=True)
            for scenario in chosen:
                for contestant in scenario.contestants:
                    if options.who is None or contestant.name.startswith(tuple(options.who)):
                        figures = _run(contestant, scenario, service, folder)
                        about = {"scenario": scenario.name, "contestant": contestant.name, "round": number}
                        runs.append({**about, "figures": {name: round(value, 4) for name, value in figures.items()}})
                        print(f"  {scenario.name:8} {contestant.name:45} {_line(figures)}", flush=True)
    results = {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": _processor(),
            "python": platform.python_version(),
        },
        "versions": {name: text for each in environments.ALL for name, text in each.versions().items()},
        "settings": {"rounds": options.rounds, "images": options.images},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "ceiling_posts_per_s": [round(rate) for rate in ceiling],
        "scenarios": [{name: value for name, value in asdict(one).items() if name != "contestants"} for one in chosen],
        "runs": runs,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(_compact(results))
    print(report.markdown(results))
    print(f"written to {options.results}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000, help="of 80 kB, 2,000 different ones at most")
    parser.add_argument("--large-images", type=int, default=1000, help="of 500 kB")
    parser.add_argument("--slow-images", type=int, default=1000, help="the most for peers that are slow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", help="a scenario; may be repeated")
    parser.add_argument("--who", action="append", help="only contestants whose names begin so; may be repeated")
    parser.add_argument("--results", type=Path, default=RESULTS / "latest.json")
    return parser.parse_args()


def _is_in(scenario: Scenario, options: argparse.Namespace) -> bool:
    return options.only is None or scenario.name in options.only


def _run(contestant: Contestant, scenario: Scenario, service: Service, folder: Path) -> dict[str, float]:
    images = min(scenario.images, contestant.at_most or scenario.images)
    photographs = _photographs(folder, scenario, images)
    output = folder / "lake"
    service.reset(latency_s=scenario.latency_s, post_latency_s=scenario.post_latency_s)
    command = contestant.command(photographs, service.url, output)
    try:
        return measure(command, service, images, output if contestant.is_ours else None)
    except FailedError as error:
        raise SystemExit(f"{contestant.name}, {scenario.name}: {error}") from None
    finally:
        shutil.rmtree(output, ignore_errors=True)


def _photographs(folder: Path, scenario: Scenario, images: int) -> Path:
    """A folder with so many names for the different files of the scenario."""
    files = folder / f"files-{scenario.image_bytes}-{scenario.distinct}"
    if not files.exists():
        module = ["-m", "benchmarks.bench.images", str(files)]
        sizes = ["--count", str(scenario.distinct), "--bytes", str(scenario.image_bytes)]
        subprocess.run([LOOPS.python, *module, *sizes], check=True, cwd=ROOT)
    names = folder / f"names-{scenario.image_bytes}-{scenario.distinct}-{images}"
    if not names.exists():
        names.mkdir()
        for number in range(images):
            copy, file = divmod(number, scenario.distinct)
            (names / f"{copy:03d}-{file:06d}.jpg").hardlink_to(files / f"{file:06d}.jpg")
    return names


def _line(figures: dict[str, float]) -> str:
    return (
        f"{figures['images_per_s']:7,.0f} images/s {figures['cpu_ms_per_image']:6.2f} ms CPU"
        f" {figures['peak_mb']:5,.0f} MB {figures['polls_per_image']:6.3f} polls {figures['start_s']:5.1f} s start"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _compact(results: dict[str, Any]) -> str:
    """JSON with a line for each run."""
    runs = ",\n".join("  " + json.dumps(run) for run in results["runs"])
    rest = json.dumps({**results, "runs": []}, indent=1)
    return rest.replace('"runs": []', f'"runs": [\n{runs}\n ]') + "\n"


if __name__ == "__main__":
    main()
