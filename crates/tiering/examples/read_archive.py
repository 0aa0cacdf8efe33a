"""Reads what the example `archive` wrote with readers that know nothing of Thermae, and compares row by row.

    python3 read_archive.py DATA DIR      (needs deltalake, polars, duckdb, pyarrow)
"""

import datetime
import os
import sys

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

data, folder = sys.argv[1:3]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def table_of(view):
    return f"{folder}/tables/{view}/v1/s1"


def readings(path):
    """The table by three readers, as pyarrow tables."""
    yield "deltalake", pa.table(deltalake.DeltaTable(path).to_pyarrow_table())
    yield "polars", pl.scan_delta(path).collect().to_arrow()
    files = f"{path}/event_date=*/*.parquet"
    query = f"select * from read_parquet('{files}', hive_partitioning = true)"
    yield "duckdb", duckdb.sql("set timezone = 'UTC'") or duckdb.sql(query).to_arrow_table()


def check_log(path):
    """What the readers read begins with a checkpoint: the commits before it are gone."""
    log = sorted(os.listdir(f"{path}/_delta_log"))
    last = "00000000000000000003"
    assert log == [f"{last}.checkpoint.parquet", f"{last}.json", "00000000000000000004.json", "_last_checkpoint"], log
    assert deltalake.DeltaTable(path).version() == 4
    txn = deltalake.DeltaTable(path).transaction_version("thermae/" + "07" * 16 + "/0")
    print(f"{path}: version 4 from a checkpoint, partition 0 archived up to {txn}")


def sorted_rows(rows):
    return sorted(rows, key=repr)


def microseconds(time):
    return None if time is None else (time - EPOCH) // datetime.timedelta(microseconds=1)


def plain(value):
    if isinstance(value, datetime.datetime):
        return microseconds(value.replace(tzinfo=datetime.timezone.utc) if value.tzinfo is None else value)
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def check_file(name, key, time):
    source = pq.read_table(f"{data}/{name}.parquet")
    features = [c for c in source.column_names if c not in (key, time)]
    names = [key, time] + features
    expected = [tuple(plain(row[c]) for c in names) for row in source.to_pylist() if row[key] is not None]
    expected = sorted_rows(expected)
    path = table_of(f"nyc/{name}")
    for reader, found in readings(path):
        columns = [key, "event_timestamp"] + features
        rows = sorted_rows(tuple(plain(row[c]) for c in columns) for row in found.to_pylist())
        assert rows == expected, (reader, name, len(rows), len(expected))
        dates = all(str(row["event_date"]) == str(row["event_timestamp"])[:10] for row in found.to_pylist())
        assert dates, (reader, "event_date")
        print(f"{name}: {reader} reads {len(rows)} rows, all equal")
    sizes(path, found)


def sizes(path, found):
    """The same rows and files by pyarrow's defaults."""
    ours = theirs = 0
    for where, _, files in os.walk(path):
        for file in files:
            if not file.endswith(".parquet") or where.endswith("_delta_log"):
                continue
            ours += os.path.getsize(f"{where}/{file}")
            sink = pa.BufferOutputStream()
            pq.write_table(pq.ParquetFile(f"{where}/{file}").read(), sink)
            theirs += sink.getvalue().size
    sink = pa.BufferOutputStream()
    pq.write_table(found, sink)
    print(
        f"  bytes/row {ours / len(found):.1f}, pyarrow's defaults {theirs / len(found):.1f} "
        f"({ours / theirs:.2f}x); one file of all by pyarrow {sink.getvalue().size / len(found):.1f}"
    )


SCALARS = {
    "bool": lambda n: n % 2 == 1,
    "int32": lambda n: -n,
    "int64": lambda n: n << 40,
    "float32": lambda n: n / 4,
    "float64": lambda n: n / 8,
    "string": lambda n: f"text {n}",
    "bytes": lambda n: bytes([0, n % 256]),
    "timestamp": lambda n: n * 1_000_001,
    "uuid": lambda n: bytes([n % 256]) * 16,
    "json": lambda n: f'{{"n": {n}}}',
}


def check_everything():
    expected = []
    for n in range(1_000):
        values = [one(n) for one in SCALARS.values()]
        values += [[one(n + at) for at in range(n % 3)] for one in SCALARS.values()]
        values += [[n * 0.5, n * 1.5, n * 2.5], bytes([n % 256]), n]
        values = [None if (n + at) % 5 == 0 else value for at, value in enumerate(values)]
        expected.append((n, bytes([n % 256]) * 16, n * 864_000_000 + n, *values))
    expected = sorted_rows(expected)
    names = ["id", "uuid_key", "event_timestamp"]
    names += [f"one_{s}" for s in SCALARS] + [f"many_{s}" for s in SCALARS]
    names += ["vector", "opaque", "Sequence_2"]
    for reader, found in readings(table_of("types/everything")):
        rows = sorted_rows(tuple(plain(row[c]) for c in names) for row in found.to_pylist())
        assert rows == expected, (reader, [x for x in zip(rows, expected) if x[0] != x[1]][:1])
        print(f"every type: {reader} reads {len(rows)} rows, all equal")


for table in ["nyc/flights", "nyc/weather", "types/everything"]:
    check_log(table_of(table))
check_everything()
check_file("flights", "tailnum", "finished_at")
check_file("weather", "origin", "time_hour")
