"""``get_online_features`` from Python: Thermae's client and its Feast plug-in beside Feast's own stores, in one run.

    python bench/online.py --thermae target/release/thermae

Needs ``pip install './python[feast]'`` (built for release), for Redis also ``redis-server`` and ``pip install redis
hiredis``; what is missing is left out and said so. Every store holds the same rows, and the answers of all are compared
first. Rounds go over the stores in turn, so that the machine's slower times hit all of them. The null stores answer
what they built before: what is left is Feast's own work, by `online_read` and, direct, by the way that Thermae's
plug-in goes; the last line says how much of that the plug-in takes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.repo_config import RepoConfig
from feast.types import Float32, Int64
from feast.value_type import ValueType
from null_store import NullOnlineStore

import thermae

ROWS = 10_000
SHAPES = [(100, 50), (1_000, 10)]
VIEW = "bench"


def feast_store(folder: Path, name: str, online: dict[str, Any], rows: pd.DataFrame, columns: int) -> FeatureStore:
    """A Feast repository over an online store, with all rows materialised."""
    place = folder / name
    place.mkdir()
    rows.to_parquet(place / "rows.parquet")
    config = RepoConfig(
        project=f"bench_{name}",
        registry=str(place / "registry.db"),
        provider="local",
        online_store=online,
        entity_key_serialization_version=3,
        repo_path=str(place),
    )
    store = FeatureStore(config=config)
    key = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    fields = [Field(name=f"f{at}", dtype=Float32) for at in range(columns)]
    view = FeatureView(
        name=VIEW,
        entities=[key],
        ttl=dt.timedelta(days=365),
        schema=[Field(name="user_id", dtype=Int64), *fields],
        source=FileSource(path=str(place / "rows.parquet"), timestamp_field="event_timestamp"),
    )
    store.apply([key, view])
    if not isinstance(store._get_provider().online_store, NullOnlineStore):
        store.materialize(dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), dt.datetime.now(dt.timezone.utc))
    return store


def serve(binary: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    socket = folder / "socket"
    command = [binary, "serve", "--data", str(folder / "data"), "--unix", str(socket), "--listen", "none"]
    process = subprocess.Popen([*command, "--http", "127.0.0.1:0", "--cores", "1"], stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            thermae.connect(f"unix:{socket}").close()
            return process, f"unix:{socket}"
        except (thermae.ConnectionFailedError, thermae.OverloadedError):
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def redis(folder: Path) -> tuple[subprocess.Popen[bytes], str] | None:
    binary = shutil.which("redis-server")
    if binary is None:
        print("redis-server is not installed: left out")
        return None
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(1.0)
    return process, f"127.0.0.1:{port}"


def measure(calls: dict[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Microseconds of each call, some of each in turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            end = time.perf_counter() + seconds / rounds
            while (begin := time.perf_counter()) < end or not taken[name]:
                call()
                taken[name].append((time.perf_counter() - begin) * 1e6)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thermae", default="target/release/thermae", help="the server")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each store and shape")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", help="write the figures as JSON")
    arguments = parser.parse_args()
    dice = np.random.default_rng(7)
    columns = max(count for _, count in SHAPES)
    values = {f"f{at}": dice.random(ROWS, dtype=np.float32) for at in range(columns)}
    now = dt.datetime.now(dt.timezone.utc).replace(microsecond=0) - dt.timedelta(hours=1)
    rows = pd.DataFrame({"user_id": np.arange(ROWS), "event_timestamp": [now] * ROWS, **values})
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="thermae") as name:
        folder = Path(name)
        try:
            server, address = serve(arguments.thermae, folder)
            processes.append(server)
            stores = {
                "Feast + SQLite": feast_store(
                    folder, "sqlite", {"type": "sqlite", "path": str(folder / "o.db")}, rows, columns
                )
            }
            started = redis(folder)
            if started is not None:
                processes.append(started[0])
                online = {"type": "redis", "connection_string": started[1]}
                stores["Feast + Redis"] = feast_store(folder, "redis", online, rows, columns)
            online = {"type": "thermae.feast.ThermaeOnlineStore", "address": address}
            plug_in = stores["Feast + Thermae"] = feast_store(folder, "plug_in", online, rows, columns)
            for name, kind in [("null", "NullOnlineStore"), ("direct null", "DirectNullOnlineStore")]:
                online = {"type": f"null_store.{kind}"}
                null = stores[f"Feast + {name}"] = feast_store(folder, name.replace(" ", "_"), online, rows, columns)
                answers = null._get_provider().online_store
                answers.source, answers.config = plug_in._get_provider().online_store, plug_in.config
            report(run(stores, address, values, arguments), arguments.out)
        finally:
            for process in processes:
                process.terminate()
                process.wait(30)


def run(stores: dict[str, FeatureStore], address: str, values: dict[str, Any], arguments: Any) -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = []
    clients = {
        "Thermae client": thermae.connect(address, project="bench_plug_in"),
        "Thermae client, spinning": thermae.connect(address, project="bench_plug_in", spin=True),
        "Thermae client, mapped": thermae.connect(address, project="bench_plug_in", mapped=True),
    }
    for entities, columns in SHAPES:
        keys = np.random.default_rng(entities).permutation(ROWS)[:entities]
        names = [f"f{at}" for at in range(columns)]
        rows = [{"user_id": int(key)} for key in keys]
        refs = [f"{VIEW}:{name}" for name in names]
        pick = [f"{VIEW}:{','.join(names)}"]
        calls: dict[str, Callable[[], Any]] = {}
        for name, store in stores.items():
            calls[name] = functools.partial(store.get_online_features, refs, rows)
        for name, client in clients.items():
            calls[f"{name}, matrix"] = functools.partial(client.get_online_matrix, pick, {"user_id": keys})
            calls[f"{name}, numpy"] = functools.partial(arrays, client, pick, {"user_id": keys})
        check(calls, {name: values[name][keys] for name in names})
        for name, taken in measure(calls, arguments.rounds, arguments.seconds).items():
            taken.sort()
            figures.append(
                {
                    "store": name,
                    "entities": entities,
                    "features": columns,
                    "calls": len(taken),
                    "p50_us": statistics.median(taken),
                    "p99_us": taken[int(len(taken) * 0.99)],
                }
            )
    return figures


def arrays(client: thermae.FeatureStore, features: list[str], entities: dict[str, Any]) -> dict[str, np.ndarray]:
    return client.get_online_features(features, entities).to_numpy()


def check(calls: dict[str, Callable[[], Any]], expected: dict[str, Any]) -> None:
    """Every store answers every value."""
    for name, call in calls.items():
        found = call()
        if isinstance(found, np.ndarray):
            found = dict(zip(expected, found.T))
        elif not isinstance(found, dict):
            found = found.to_dict()
        for column, values in expected.items():
            if not np.array_equal(np.asarray(found[column], dtype=np.float32), values):
                raise SystemExit(f"{name} answers {column} wrong")


def report(figures: list[dict[str, Any]], out: str | None) -> None:
    for entities, columns in SHAPES:
        print(f"\n{entities} entities x {columns} features, {os.cpu_count()} cores shared by all\n")
        print("| | p50 us | p99 us | calls |\n| --- | ---: | ---: | ---: |")
        for one in figures:
            if (one["entities"], one["features"]) == (entities, columns):
                print(f"| {one['store']} | {one['p50_us']:.0f} | {one['p99_us']:.0f} | {one['calls']} |")
        at = {
            one["store"]: one["p50_us"] for one in figures if (one["entities"], one["features"]) == (entities, columns)
        }
        print(
            f"\nFeast + Thermae takes {at['Feast + Thermae'] / at['Feast + direct null']:.2f} of the direct null store"
        )
    if out:
        Path(out).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
