"""Compare speed with peers: same data, priors, draws and chains, run in turn on one machine.

    ./scripts/benchmark [--cases NAME ...] [--quick] [--limit SECONDS] [--out FOLDER]

Each peer runs in its own processes: with an empty compile cache (cold), again with the filled
cache, and several times in one process. Peers that are not installed are left out, and the result
lists them. Each case is written to FOLDER/benchmark.json when it is done. Results of other cases in
the file are kept, each with its date and machine. benchmark.md and benchmark.png are made from the
whole file; --report only makes these two.
"""

import argparse
import datetime
import json
import math
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.cases import CASES, QUICK, Settings
from benchmarks.measured import TABLES
from benchmarks.process import OURS, ROOT, Laboratory, find_peers
from benchmarks.report import figure, markdown
from benchmarks.targets import targets

from radon_numpyro.data.files.whole_files import check_writable, write_whole


def machine():
    """Describe the machine without its name."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [v for v in info.read_text().splitlines() if v.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def kept(run):
    """Return the record of a process without draws and folders."""
    calls = [{k: v for k, v in call.items() if k != "draws"} for call in run.get("calls", ())]
    return {k: v for k, v in run.items() if k != "versions"} | {"calls": calls}


def measure(name, peers, settings):
    """Run one case."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(peers, folder, say=lambda text: print(text, file=sys.stderr, flush=True))
        lab.warm_disk(*lab.present(*peers))
        CASES[name](lab, settings)
        ours = [run for run in lab.runs if run["peer"] == OURS and "failed" in run]
        if ours:
            raise SystemExit(f"{OURS} failed in {name}: {ours[0]['failed']}")
        table = TABLES[name](lab.runs)
    versions = {"radon-numpyro": version("radon-numpyro")}
    for run in lab.runs:
        versions |= run.get("versions", {})
    load = [run["load_before"] for run in lab.runs]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started),
        "machine": machine(),
        "load": [min(load), max(load)],
        "versions": versions,
        "settings": asdict(settings),
        "quick": replace(settings, limit=QUICK.limit) == QUICK,
        "absent": {p.name: p.absent for p in peers.values() if p.command is None},
        "failed": [kept(run) for run in lab.runs if "failed" in run],
        "table": table,
        "runs": [kept(run) for run in lab.runs if "failed" not in run],
    }


def plain(value):
    """Convert values for JSON; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def write_json(folder, result):
    text = json.dumps(plain(result), indent=1, allow_nan=False) + "\n"
    write_whole(folder / "benchmark.json", lambda path: path.write_text(text))
    return json.loads(text)


def write(folder, cases):
    """Write all three files. The measurements come first, because they took longest to get."""
    cases = write_json(folder, {"targets": [], "cases": cases})["cases"]
    result = write_json(folder, {"targets": targets(cases), "cases": cases})
    page = markdown(result)
    write_whole(folder / "benchmark.md", lambda path: path.write_text(page))
    write_whole(folder / "benchmark.png", lambda path: figure(result).savefig(path, dpi=200))
    return page


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument(
        "--limit",
        type=float,
        help="most seconds that R, or a peer of ever larger data, may take (600; quick: 60)",
    )
    parser.add_argument("--out", type=Path, help="default: figures, or results where it is quick")
    parser.add_argument("--report", action="store_true", help="run nothing, write from the JSON")
    parser.add_argument(
        "--peers",
        type=Path,
        default=ROOT / ".venv-peers/bin/python",
        help="the Python that has PyMC, nutpie and NumPyro",
    )
    options = parser.parse_args()
    folder = options.out or Path("results" if options.quick else "figures")
    check_writable(folder)
    file = folder / "benchmark.json"
    cases = json.loads(file.read_text())["cases"] if file.exists() else {}
    if options.report:
        print(write(folder, cases))
        return
    peers, settings = find_peers(options.peers), QUICK if options.quick else Settings()
    if options.limit is not None:
        settings = replace(settings, limit=options.limit)
    for peer in peers.values():
        if peer.command is None:
            print(f"without {peer.name}: {peer.absent}", file=sys.stderr)
    for name in options.cases:
        print(f"{name}:", file=sys.stderr)
        cases[name] = measure(name, peers, settings)
        cases = {case: cases[case] for case in CASES if case in cases}
        page = write(folder, cases)
    print(page)


if __name__ == "__main__":
    main()
