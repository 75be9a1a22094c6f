"""Measure the reduction: rows per second from Parquet, compared with the simplest possible query.

Ten million rows in 3000 groups, with one outcome, two predictors and text labels, are written to a
temporary folder. Each engine runs two queries: the counts and means by group, which is the minimum
for any query over these columns, and the statistics for a fit. Every query runs in its own process,
whose peak resident memory is shown. The process of the first row only imports the package. Prints a
Markdown table.

    .venv/bin/python scripts/benchmark_reduction.py
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from radon_numpyro import GroupStatistics

NAMES = {"y": "level", "x": ["height", "floor"], "group": "town"}
COLUMNS = ("level", "height", "floor")
CHUNK = 1_000_000
REPEATS = 3


def write_rows(path, num_rows, num_groups):
    """Write rows with a mean of 1e6 and groups far apart to one file."""
    rng = np.random.default_rng(0)
    towns = rng.normal(0.0, 1e3, num_groups)
    names = pa.array([f"town {c}" for c in range(num_groups)])
    writer = None
    for start in range(0, num_rows, CHUNK):
        group = rng.integers(0, num_groups, min(CHUNK, num_rows - start))
        height = rng.normal(1e6, 1.0, len(group))
        floor = rng.integers(0, 3, len(group))
        level = towns[group] + 0.3 * (height - 1e6) - 0.5 * floor + rng.normal(size=len(group))
        table = pa.table(
            {"town": names.take(pa.array(group)), "level": level, "height": height, "floor": floor}
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def plain_polars(path):
    means = (pl.col(name).mean() for name in COLUMNS)
    return pl.scan_parquet(path).group_by("town").agg(pl.len(), *means).collect(engine="streaming")


def plain_duckdb(path):
    means = ", ".join(f"avg({name})" for name in COLUMNS)
    rows = duckdb.read_parquet(path)
    return rows.aggregate(f"town, count(*), {means}", "town").to_arrow_table()


QUERIES = {
    "nothing": lambda path: None,
    "polars means": plain_polars,
    "polars": lambda path: GroupStatistics.from_frame(pl.scan_parquet(path), **NAMES),
    "duckdb means": plain_duckdb,
    "duckdb": lambda path: GroupStatistics.from_frame(duckdb.read_parquet(path), **NAMES),
}


def run(query, path):
    """Return the shortest time of several runs, and the peak memory of this process in MiB."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        QUERIES[query](path)
        seconds.append(time.perf_counter() - started)
    # ru_maxrss is in bytes on macOS and in KiB elsewhere.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def own_process(step, file, options):
    """Run a step in a new process and return what it prints.

    A child process inherits the peak memory of its parent, so the parent must not do such work.
    """
    arguments = {"step": step, "file": file, "rows": options.rows, "groups": options.groups}
    command = [sys.executable, __file__, *(f"--{k}={v}" for k, v in arguments.items())]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--groups", type=int, default=3000)
    parser.add_argument("--step", choices=["write", *QUERIES], help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "write":
        write_rows(options.file, options.rows, options.groups)
        return
    if options.step:
        print(*run(options.step, options.file))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        own_process("write", file, options)
        size = file.stat().st_size / 2**20
        print(f"{options.rows:,} rows, {options.groups:,} groups, {size:.0f} MiB of Parquet")
        print("| query | million rows a second | times the means alone | largest memory, MiB |")
        print("| --- | ---: | ---: | ---: |")
        means = None
        for query in QUERIES:
            seconds, memory = map(float, own_process(query, file, options).split())
            rate, ratio = f"{options.rows / seconds / 1e6:.0f}", ""
            if query == "nothing":
                rate = ""
            elif query.endswith("means"):
                means = seconds
            else:
                ratio = f"{seconds / means:.1f}"
            print(f"| {query} | {rate} | {ratio} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
