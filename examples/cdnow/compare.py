#!/usr/bin/env python3
"""Compares a training read of every CDNOW purchase with DuckDB's answer, row by row: 1,774 customers' days have several
purchases, of which the one that was recorded last must win.

    pip install pyarrow duckdb
    pip download --no-deps lifetimes==0.11.3
    python3 compare.py prepare Lifetimes-0.11.3-py3-none-any.whl purchases.parquet spine.parquet
    thermae apply features.toml
    thermae ingest purchase purchases.parquet
    thermae history purchase --spine spine.parquet --event-time asked --out train.parquet
    python3 compare.py compare purchases.parquet spine.parquet train.parquet

`compare.py slice WHEEL data/ties.csv` makes the slice that the tests use.
"""

import pathlib
import sys
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import asof  # noqa: E402

FEATURES = ["line", "cds", "dollars"]
MASTER = "lifetimes/datasets/CDNOW_master.txt"
# Whom a purchase is asked for, beside its own day: days before and after, at the edge of the ttl, and just past it.
OFFSETS = [0, -1, 1, 7, 29, 30, 31]


def purchases(wheel):
    """Line, customer, day, discs and dollars of every purchase, in the order of the source."""
    import datetime

    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(MASTER).decode().splitlines()[1:]
    for number, line in enumerate(lines, 1):
        customer, day, cds, dollars = line.split()
        yield number, int(customer), datetime.datetime.strptime(day, "%Y%m%d"), int(cds), float(dollars)


def prepare(wheel, out, spine):
    """The purchases, and a spine with each of them at several distances."""
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    line, customer, day, cds, dollars = map(list, zip(*purchases(wheel)))
    times = pa.timestamp("us", "UTC")
    columns = {"customer": pa.array(customer, pa.int32()), "day": pa.array(day, times)}
    columns |= {"line": pa.array(line, pa.int32()), "cds": pa.array(cds, pa.int32()), "dollars": dollars}
    pq.write_table(pa.table(columns), out)
    asked = [at + datetime.timedelta(days=offset) for at in day for offset in OFFSETS]
    about = [one for one in customer for _ in OFFSETS]
    of = [one for one in line for _ in OFFSETS]
    rows = {"customer": pa.array(about, pa.int32()), "asked": pa.array(asked, times), "of_line": pa.array(of, pa.int32())}
    pq.write_table(pa.table(rows), spine)


def slice_of(wheel, out):
    """Purchases of the first customers that have several on one day."""
    import collections
    import csv

    rows = list(purchases(wheel))
    days = collections.Counter((row[1], row[2]) for row in rows)
    tied = sorted({customer for (customer, _), count in days.items() if count > 1})[:40]
    with open(out, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["customer", "day", "line", "cds", "dollars"])
        for line, customer, day, cds, dollars in rows:
            if customer in tied:
                writer.writerow([customer, day.date(), line, cds, dollars])


def compare(bought, spine, answer):
    """Counts the rows that differ in any column."""
    tied = f"(select customer, day from read_parquet('{bought}') group by all having count(*) > 1)"
    won = f"exists (from {tied} x join read_parquet('{bought}') b using (customer, day) where b.line = t.line)"
    asof.compare(
        bought,
        spine,
        answer,
        key="customer",
        row_time="day",
        spine_time="asked",
        ttl="30 day",
        own=["customer", "asked", "of_line"],
        features=FEATURES,
        also=[("count(t.line)", "found"), (f"count(*) filter ({won})", "won against others of its day")],
    )


if __name__ == "__main__":
    {"prepare": prepare, "slice": slice_of, "compare": compare}[sys.argv[1]](*sys.argv[2:])
