"""Makes docs/scale.md: what a run takes at ten thousand to a billion images, computed from measured constants.

    .venv/bin/python -m benchmarks.scale

The constants are in ``results/growth.json`` (made by ``benchmarks.growth``) and ``results/scale.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.scale_model import (
    SECONDS_AN_HOUR,
    USED_OF_QUOTA,
    Model,
    Work,
    buckets_for,
    journal_objects,
    requests,
    shards,
)

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"
RESULTS = ROOT / "benchmarks" / "results"
FACTOR = 1.25  # within which what was predicted is to be of what was measured
CPU_FACTOR = 1.5  # the same of CPU times: on a machine that others use, the same work takes more of it
_SIZES = {10_000: "10 k", 1_000_000: "1 M", 100_000_000: "100 M", 1_000_000_000: "1 B"}
_QUOTAS = (20, 200, 2000)
_DOLLARS_A_MILLION = {"PUT": 5.0, "LIST": 5.0, "GET": 0.4}
_WORKER_BYTES, _OBJECT_BYTES, _LISTING_H, _PATIENCE_D = 4e9, 2e8, 3.0, 7.0
_TEXT = (Path(__file__).parent / "scale.template.md").read_text()


def load() -> Model:
    """From the results that are kept."""
    return Model(*(json.loads((RESULTS / name).read_text()) for name in ("growth.json", "scale.json")))


def page(model: Model) -> str:
    """The whole page."""
    constants = json.loads((RESULTS / "scale.json").read_text())
    growth = json.loads((RESULTS / "growth.json").read_text())
    tables = {
        "constants": _table(
            ("constant", "value", "of", "measured by"),
            [(name, f"{each['value']:,}", each["unit"], each["where"]) for name, each in constants.items()],
        ),
        "growth": _growth(model),
        "memory": _memory(model),
        "checked": _table(("images", "", "predicted", "measured", "ratio"), _checked(model)),
        "objects": _objects(model),
        "hours": _hours(model),
        "breaks": _breaks(model),
        "machine": f"{growth['machine']['cores']} cores, Python {growth['machine']['python']}",
        "measured": f"{growth['measured_at'][:10]} at {growth['commit']}",
        "part": f"{part(model) / 1e6:,.0f} million",
        "factor": f"{FACTOR:g}",
        "cpu_factor": f"{CPU_FACTOR:g}",
        "process_rate": f"{model.process_rate:,.0f}",
    }
    return _TEXT.format(**tables)


def part(model: Model) -> float:
    """Images whose accounts fit into a worker."""
    return (_WORKER_BYTES - model.base_bytes) / (model.accounts_bytes(_at(1, 1)) - model.base_bytes)


def predictions(model: Model) -> list[tuple[int, str, float, float]]:
    """(images, what, predicted, measured) of each size that was run; no line is judged by what it was fitted to."""
    found: list[tuple[int, str, float, float]] = []
    for images, size in sorted(model.sizes.items()):
        if images < 10_000:
            continue
        posting_s = images * size["label_us"] / 1e6 - size["end_s"]
        work = Work(images, images / posting_s, 1, 256)
        calls = {kind: _sum(size["store_calls"], kind) for kind in ("PUT", "LIST", "GET")}
        found += [(images, f"{kind} requests", requests(work, local=True)[kind], calls[kind]) for kind in calls]
        found.append((images, "journal objects", journal_objects(work), size["store_calls"]["journal PUT"]))
        found.append((images, "table files", 3.0 * shards(work), size["store_calls"]["tables PUT"]))
        if images > 100_000:
            for name, figure in _LINES.items():
                found.append((images, name, model.extrapolated(figure, images), model.total(figure, images)))
    return found


_LINES = {
    "bytes of journal": "journal bytes",
    "bytes of tables": "table bytes",
    "CPU s, from the first post on": "label_cpu_us",
}


def _checked(model: Model) -> Iterable[Sequence[str]]:
    for images, what, predicted, measured in predictions(model):
        yield (f"{images:,}", what, _short(predicted), _short(measured), f"{predicted / measured:.2f}")


def _growth(model: Model) -> str:
    head = ("images", "start s", "µs/image", "CPU µs/image", "MB listed", "MB labelling", "MB publishing")
    rows = [
        (
            f"{images:,}",
            f"{size['start_s']:.1f}",
            *(("", "") if images == 1 else (f"{size['label_us']:,.0f}", f"{size['label_cpu_us']:,.0f}")),
            *(f"{size[name]:,.0f}" if size[name] else "" for name in ("listed_mb", "labelled_mb", "published_mb")),
            *(f"{size[name]:,.{digits}f}" for name, digits in _AGAIN.items()),
        )
        for images, size in sorted(model.sizes.items())
    ]
    return _table((*head, "plan s", "plan CPU s", "plan MB", "no-op s", "no-op CPU s", "no-op MB"), rows)


def _memory(model: Model) -> str:
    """Where the peak of the largest run goes."""
    images = max(model.sizes)
    size = model.sizes[images]
    parts = {
        "what code alone takes": model.sizes[1]["published_mb"],
        "the listing, of which Beam's in-process runner holds some copies in batches": size["listed_mb"],
        "the engine, its tasks and the journal's segments": size["labelled_mb"],
        "the end: a shard in the making, or the accounts": size["published_mb"],
    }
    rows, before = [], 0.0
    for what, peak in parts.items():
        rows.append((what, f"{max(0.0, peak - before):,.0f}", f"{peak:,.0f}"))
        before = peak
    return _table((f"at {images:,} images", "MB more", "peak MB by then"), rows)


_AGAIN = {"plan_s": 1, "plan_cpu_s": 1, "plan_mb": 0, "again_s": 1, "again_cpu_s": 1, "again_mb": 0}


def _at(images: int, quota: float, processes: int = 1) -> Work:
    return Work(images, USED_OF_QUOTA * quota, processes, buckets_for(images))


def _objects(model: Model) -> str:
    rows = []
    for images, name in _SIZES.items():
        for quota in _QUOTAS:
            work = _at(images, quota, model.processes_for(quota))
            asked = requests(work)
            dollars = sum(count / 1e6 * _DOLLARS_A_MILLION[kind] for kind, count in asked.items())
            rows.append(
                (
                    name,
                    f"{quota:,}/s",
                    f"{work.buckets:,}",
                    _short(journal_objects(work)),
                    _short(3 * shards(work)),
                    *(_short(count) for count in asked.values()),
                    f"{dollars:,.2f}",
                    _bytes(model.shuffle_bytes(work)),
                    _bytes(model.worker_bytes(work)),
                    _bytes(model.accounts_bytes(work)),
                )
            )
    head = ("images", "quota", "--buckets", "journal objects", "table files", "PUT", "LIST", "GET", "$")
    return _table((*head, "shuffle", "memory of a worker", "memory for the accounts"), rows)


def _hours(model: Model) -> str:
    rows = [
        (name, *(_time(_at(images, quota).seconds) for quota in _QUOTAS), _time(model.listing_s(_at(images, 1))))
        for images, name in _SIZES.items()
    ]
    needed = ("workers", *(f"{model.processes_for(quota)}" for quota in _QUOTAS), "1")
    return _table(("images", *(f"at {quota:,}/s" for quota in _QUOTAS), "listed by one process"), [*rows, needed])


def _breaks(model: Model) -> str:
    rows = []
    for images, name in _SIZES.items():
        for quota in _QUOTAS:
            limits = broken(model, _at(images, quota, model.processes_for(quota)))
            rows.append((name, f"{quota:,}/s", "; then ".join(limits) or "nothing"))
    return _table(("images", "quota", "what breaks, worst first"), rows)


def broken(model: Model, work: Work) -> list[str]:
    """What is beyond its limit, by how far it is."""
    days = work.seconds / SECONDS_AN_HOUR / 24
    listing_h = model.listing_s(work) / SECONDS_AN_HOUR
    accounts, worker, names = model.accounts_bytes(work), model.worker_bytes(work), model.intent_bytes(work)
    limits = {
        f"the accounts, {_bytes(accounts)} in one process": accounts / _WORKER_BYTES,
        f"a worker, {_bytes(worker)}": worker / _WORKER_BYTES,
        f"the list of segments, {_bytes(names)} of JSON": names / _OBJECT_BYTES,
        f"the listing, {listing_h:,.1f} h": listing_h / _LISTING_H,
        f"the quota, {days:,.0f} days": days / _PATIENCE_D,
    }
    return [what for what, share in sorted(limits.items(), key=lambda item: -item[1]) if share > 1]


def _sum(calls: dict[str, int], kind: str) -> int:
    return sum(count for name, count in calls.items() if name.endswith(f" {kind}"))


def _short(count: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if count >= size:
            scale = 1e3 if unit == "k" else size
            return f"{count / scale:,.{1 if count < 100 * scale else 0}f} {unit}"
    return f"{count:,.0f}"


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _time(seconds: float) -> str:
    hours = seconds / SECONDS_AN_HOUR
    if hours >= 48:
        return f"{hours:,.0f} h"
    return f"{hours:,.1f} h" if hours >= 1 else f"{seconds / 60:,.1f} min"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(load()))
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
