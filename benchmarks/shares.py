"""What several processes make of one rate: how much of it they use, and whether they keep to it.

``.venv/bin/python -m benchmarks.shares [--only 'told 200' ...] [--seconds 60]``
``.venv/bin/python -m benchmarks.shares --page benchmarks/results/shares.json``

Each case labels small images for a while beside a server that counts by its own clock (``quota_server.py``), and
prints a line; all of them go to ``benchmarks/results/shares-latest.json`` too. The second command makes the table of
docs/performance.md out of a result that is kept. Most are ``deepo-beam label`` under Beam's own
multi-processing. There a run ends with any of its workers; where one is killed they are therefore processes that Beam
knows nothing of, each of which labels its part of the buckets in a pipeline of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests

from benchmarks.bench.measure import commit
from benchmarks.bench.report import PAGE, ROOT, rows_of

RESULTS = ROOT / "benchmarks" / "results" / "shares-latest.json"
_TABLE = re.compile(r"(<!-- shares: made by benchmarks/shares.py -->\n).*?(<!-- end -->)", re.DOTALL)
_ITSELF = (sys.executable, "-m", "benchmarks.shares")
SETTLE_S = 10.0  # counted from the first post; what comes before is the beginning
KILL_S = 20.0
_GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


@dataclass(frozen=True)
class Case:
    """Rates in calls/s, times in seconds.

    Attributes:
        told: the rate that the run is allowed.
        quota: what the service accepts, from second to second; empty: whatever comes.
        kill: one process is killed (-9) ``KILL_S`` after the first post.
    """

    name: str
    processes: int
    told: float
    quota: dict[float, float] = field(default_factory=dict)
    retry_after: str = "seconds"
    latency: float = 0.2
    stuck: float = 0.0
    kill: bool = False
    seconds: float = 60.0


def cases() -> list[Case]:
    """All of them."""
    made = [Case(f"told {told}/s", n, told) for told in (20, 200) for n in (1, 2, 4, 8)]
    made += [Case("told 200/s, tasks of 5 s", 2, 200, latency=5.0)]
    made += [Case("told 200/s, tasks of 60 s", 2, 200, latency=60.0, seconds=100.0)]
    made += [Case("told 200/s, 1 % stuck", 2, 200, stuck=0.01)]
    made += [Case("told 200/s, quota 100/s", n, 200, quota={0.0: 100.0}) for n in (1, 2, 4, 8)]
    made += [Case("told 200/s, quota 20/s", n, 200, quota={0.0: 20.0}) for n in (4, 8)]
    made += [Case("told 20/s, quota 10/s", n, 20, quota={0.0: 10.0}) for n in (2, 4)]
    made += [
        Case(f"told 200/s, quota 100/s, Retry-After {style}", 4, 200, quota={0.0: 100.0}, retry_after=style)
        for style in ("date", "none")
    ]
    moving = {0.0: 100.0, 40.0: 50.0, 80.0: 150.0}
    made += [Case("told 200/s, quota 100, 50, 150/s", n, 200, quota=moving, seconds=120.0) for n in (1, 4)]
    return [*made, Case("told 100/s, one of 4 killed", 4, 100, kill=True)]


# --- processes -----------------------------------------------------------------------------------------


@contextmanager
def running_server(case: Case) -> Iterator[str]:
    """Its URL."""
    quota = ",".join(f"{since}:{rate}" for since, rate in case.quota.items())
    command = [sys.executable, "-m", "benchmarks.quota_server", f"--quota={quota}", f"--retry-after={case.retry_after}"]
    command += [f"--latency={case.latency}", f"--stuck={case.stuck}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[-1]
        finally:
            server.kill()


def make_images(folder: Path, count: int) -> None:
    """Tiny ones, distinct by what follows the last block, which no reader looks at."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06d}.gif").write_bytes(_GIF + number.to_bytes(4, "big"))


def flags_of(case: Case) -> list[str]:
    """Beam's."""
    many = ["--direct_running_mode=multi_processing", f"--direct_num_workers={case.processes}"]
    return many if case.processes > 1 else []


def command_of(case: Case, folder: Path) -> list[str]:
    """As a user types it."""
    label = [sys.executable, "-m", "deepo_beam", "label", str(folder / "photos"), "--output", str(folder / "lake")]
    label += ["--spec", "bench-v1", "--rate", f"{case.told:g}/s", "--quiet"]
    return [*label, *(["--", *flags_of(case)] if flags_of(case) else [])]


def lead(case: Case, folder: Path) -> None:
    """Hold the output and start workers that Beam knows nothing of."""
    from deepo_beam import bulk
    from deepo_beam.config import LabelConfig
    from deepo_beam.inputs import expand_input
    from deepo_beam.preflight import input_options

    options = {"inputs": [str(folder / "photos")], "output": str(folder / "lake"), "spec": "bench-v1"}
    config = LabelConfig.parse({**options, "rate": f"{case.told:g}/s"}, where="shares")
    with bulk.held_run(config) as held:
        held, plan = bulk.prepare_run(held, flags_of(case))
        images = list(expand_input(held.inputs[0], index=0, options=input_options(held)))
        (folder / "plan.pickle").write_bytes(pickle.dumps((plan, images)))
        workers = [
            subprocess.Popen([*_ITSELF, "--worker", str(folder), str(number), str(case.processes)])
            for number in range(case.processes)
        ]
        (folder / "workers").write_text(" ".join(str(worker.pid) for worker in workers))
        for worker in workers:
            worker.wait()


def work(folder: Path, number: int, processes: int) -> None:
    """Label every ``processes``-th bucket."""
    import apache_beam as beam

    from deepo_beam.identity import bucket_of
    from deepo_beam.transforms import LabelBuckets

    plan, images = pickle.loads((folder / "plan.pickle").read_bytes())
    mine = [image for image in images if bucket_of(image.image_id, plan.buckets) % processes == number]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | beam.Create(mine) | LabelBuckets(plan, accounted=True)


# --- what is measured ----------------------------------------------------------------------------------


def run(case: Case) -> list[tuple[float, bool]]:
    """Every post: its second, and whether it was accepted."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shares-")))
        highest = min(case.told, max(case.quota.values(), default=math.inf))
        # Of a low quota some processes make all calls: nobody's part of the images is to end meanwhile.
        all_alone = case.processes if case.quota else 1
        make_images(folder / "photos", round(1.2 * highest * (case.seconds + 30.0) * all_alone))
        url = stack.enter_context(running_server(case))
        environment = {**os.environ, "DEEPOMATIC_API_URL": url, "DEEPOMATIC_API_KEY": "any"}
        command = command_of(case, folder)
        if case.kill:
            command = [*_ITSELF, "--lead", str(folder), str(case.processes), str(case.told)]
        with (folder / "log").open("w") as log:
            started = subprocess.Popen(
                command, cwd=ROOT, env=environment, stderr=log, stdout=log, start_new_session=True
            )
        try:
            return watch(case, url, folder)
        except BaseException:
            print((folder / "log").read_text()[-2000:])
            raise
        finally:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def watch(case: Case, url: str, folder: Path) -> list[tuple[float, bool]]:
    """Wait for the first post, and from then on for as long as it takes."""
    deadline = time.monotonic() + 120.0
    while not requests.get(f"{url}/_bench/posts", timeout=10).json():
        assert time.monotonic() < deadline, "nothing is posted"
        time.sleep(0.2)
    started = time.monotonic()
    if case.kill:
        time.sleep(KILL_S)
        os.kill(int((folder / "workers").read_text().split()[0]), signal.SIGKILL)
    time.sleep(max(0.0, started + SETTLE_S + case.seconds - time.monotonic()))
    return [(second, accepted) for second, accepted in requests.get(f"{url}/_bench/posts", timeout=10).json()]


def most_above(posts: Sequence[float], rate: float) -> float:
    """Calls more than ``rate x w``, in the window where that is most."""
    most, lowest = 0.0, math.inf
    for number, second in enumerate(posts):
        lowest = min(lowest, number - rate * second)
        most = max(most, number + 1 - rate * second - lowest)
    return most


def measures(case: Case, posts: list[tuple[float, bool]]) -> dict[str, Any]:
    """Of one case, from ``SETTLE_S`` after the first post on."""
    steps = {0.0: math.inf, **case.quota}

    def offered(second: float) -> float:
        return min(case.told, next(steps[since] for since in sorted(steps, reverse=True) if since <= second))

    def used(start: float, end: float) -> float:
        accepted = sum(accepted for second, accepted in posts if start <= second < end)
        return accepted / sum(
            offered(start + (end - start) * (part + 0.5) / 1000) * (end - start) / 1000 for part in range(1000)
        )

    end = SETTLE_S + case.seconds
    late = [accepted for second, accepted in posts if SETTLE_S <= second < end]
    depth = max(1.0, 0.01 * case.told / case.processes)
    found: dict[str, Any] = {
        "case": case.name,
        "processes": case.processes,
        "used": round(used(SETTLE_S, end), 4),
        "refused": round(late.count(False) / len(late), 4),
        "most_above": round(most_above([second for second, _ in posts], case.told), 2),
        "bound": case.processes * depth + 1,
        "used_each_10_s": [round(used(at, at + 10.0), 3) for at in range(int(SETTLE_S), int(end) - 9, 10)],
    }
    changes = [at for at in case.quota if at]
    if changes:
        found["used_30_s_after_a_change"] = [round(used(at + 30.0, min(at + 40.0, end)), 3) for at in changes]
    if case.kill:
        found["used_10_s_after_the_kill"] = round(used(KILL_S + 10.0, end), 4)
    return found


def table(results: Mapping[str, Any]) -> str:
    """A row for each case, in Markdown, with what it was measured on."""
    rows = []
    for found in results["cases"]:
        used, processes = f"{found['used']:.3f}", str(found["processes"])
        if "used_30_s_after_a_change" in found:
            after = " and ".join(f"{each:.2f}" for each in found["used_30_s_after_a_change"])
            used = f"{after}, 30 s after each change"
        if "used_10_s_after_the_kill" in found:
            used = f"{found['used_10_s_after_the_kill']:.3f} from 10 s after the kill"
        rows.append((found["case"], processes, used, f"{100 * found['refused']:.2f} %" if found["refused"] else ""))
    measured = f"Measured {results['measured_at'][:10]} at {results['commit']}: one run of each."
    return f"{measured}\n\n{rows_of(('', 'processes', 'used', 'refused'), rows)}"


def main() -> None:
    """Run the cases and print what they measured; or renew the page from what was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="cases whose line has one of these words")
    parser.add_argument("--seconds", type=float, help="instead of each case's own")
    parser.add_argument("--page", type=Path, help="make the table of docs/performance.md out of this result")
    parser.add_argument("--lead", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.lead:
        lead(Case("", int(given.lead[1]), float(given.lead[2])), Path(given.lead[0]))
        return
    if given.worker:
        work(Path(given.worker[0]), int(given.worker[1]), int(given.worker[2]))
        return
    if given.page:
        made = table(json.loads(given.page.read_text()))
        PAGE.write_text(_TABLE.sub(lambda found: f"{found[1]}{made}{found[2]}", PAGE.read_text()))
        return
    rows: list[dict[str, Any]] = []
    results = {"measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit(), "cases": rows}
    for case in cases():
        line = f"{case.name}, {case.processes} processes"
        if given.only and not any(word in line for word in given.only):
            continue
        wanted = case if given.seconds is None else replace(case, seconds=given.seconds)
        rows.append(measures(wanted, run(wanted)))
        shown = "  ".join(f"{name} {value}" for name, value in rows[-1].items() if name not in ("case", "processes"))
        print(f"{line}: {shown}", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
