"""A point-in-time join by DuckDB or Polars, in a process of its own: `cargo xtask bench training` runs it.

training.py ENGINE FOLDER THREADS [ANSWER]: joins FOLDER/history.parquet onto FOLDER/spine.parquet and prints one
line of JSON. With ANSWER it also writes what it found there: ten float32 for each row of the spine, in order, NaN for
null.
"""

import json
import os
import sys
import time

ENGINE, FOLDER, THREADS = sys.argv[1], sys.argv[2], sys.argv[3]
ANSWER = sys.argv[4] if len(sys.argv) > 4 else None
os.environ["POLARS_MAX_THREADS"] = THREADS

HISTORY, SPINE = f"{FOLDER}/history.parquet", f"{FOLDER}/spine.parquet"
FEATURES = [f"f{at}" for at in range(10)]


def duckdb_join():
    """ASOF LEFT JOIN; its rows come in any order, which is quicker for it."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    columns = ", ".join(f"h.{name}" for name in FEATURES)
    query = f"""SELECT s.row, s.id, s.at, {columns} FROM read_parquet('{SPINE}') s
        ASOF LEFT JOIN read_parquet('{HISTORY}') h ON s.id = h.id AND s.at >= h.at"""
    begin = time.perf_counter()
    table = connection.sql(query).to_arrow_table()
    return time.perf_counter() - begin, table, duckdb.__version__


def polars_join():
    """join_asof; both files are in order of time, and it is told so."""
    import polars

    begin = time.perf_counter()
    spine = polars.scan_parquet(SPINE).set_sorted("at")
    history = polars.scan_parquet(HISTORY).set_sorted("at")
    joined = spine.join_asof(history, on="at", by="id", strategy="backward", check_sortedness=False)
    frame = joined.collect(engine=os.environ.get("POLARS_ENGINE", "in-memory"))
    return time.perf_counter() - begin, frame.to_arrow(), polars.__version__


def peak_bytes():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def main():
    seconds, table, version = {"duckdb": duckdb_join, "polars": polars_join}[ENGINE]()
    found = table.num_rows - table.column("f0").null_count
    about = {"seconds": seconds, "rows": table.num_rows, "found": found, "peak_bytes": peak_bytes(), "version": version}
    if ANSWER:
        import numpy

        rows = table.column("row").to_numpy()
        answer = numpy.empty((table.num_rows, len(FEATURES)), dtype="<f4")
        for at, name in enumerate(FEATURES):
            answer[rows, at] = table.column(name).to_numpy()
        answer.tofile(ANSWER)
    print(json.dumps(about))


main()
