"""``get_online_features`` from Python: Thermae's client and its Feast plug-in beside Feast's own stores, in one run.

    cargo xtask bench peers --only feast

builds the package and the server, gets Redis, and runs this. Every store holds the same rows, and the answers of all
are compared first. Rounds go over the stores in turn, so that the machine's slower times hit all of them. The null stores
answer what they built before: what is left is Feast's own work, by `online_read` and, direct, by the way that Thermae's
plug-in goes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import importlib.metadata
import importlib.util
import shutil
import socket
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

import part
import thermae

ROWS = 10_000
SHAPES = [(100, 50), (1_000, 10)]
VIEW = "bench"
ROLES = {"Feast + Thermae": "ours", "Feast + SQLite": "peer", "Feast + Redis": "peer"}


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
    unix = folder / "socket"
    command = [binary, "serve", "--data", str(folder / "data"), "--unix", str(unix), "--listen", "none"]
    process = subprocess.Popen([*command, "--http", "127.0.0.1:0", "--cores", "1"], stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            thermae.connect(f"unix:{unix}").close()
            return process, f"unix:{unix}"
        except (thermae.ConnectionFailedError, thermae.OverloadedError):
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def redis(folder: Path) -> tuple[subprocess.Popen[bytes], str] | str:
    """A running Redis and where it listens, or why there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        note = shutil.which("redis-server.absent", mode=0)
        return Path(note).read_text() if note else "no redis-server on PATH"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, f"127.0.0.1:{port}"
        except OSError:
            time.sleep(0.1)
    process.kill()
    return "redis-server did not start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thermae", default="target/release/thermae", help="the server")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each store and shape")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", help="write the result as JSON")
    parser.add_argument("--smoke", action="store_true", help="little data, one short round")
    arguments = parser.parse_args()
    if arguments.smoke:
        global ROWS, SHAPES
        ROWS, SHAPES = 200, [(10, 5)]
        arguments.seconds, arguments.rounds = 0.1, 1
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
            absent = []
            started = redis(folder)
            if isinstance(started, str):
                absent.append(f"Feast + Redis: {started}")
            else:
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
            figures = run(stores, address, values, arguments)
            part.write(arguments.out, result(figures, absent, arguments))
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
        taken = part.measure(calls, arguments.rounds, arguments.seconds)
        figures += part.figures("get_online_features", f"{entities} entities x {columns} features", taken, ROLES)
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


def result(figures: list[dict[str, Any]], absent: list[str], arguments: Any) -> dict[str, Any]:
    packages = ["thermae", "feast", "redis", "hiredis", "numpy"]
    has = {package for package in packages if importlib.util.find_spec(package)}
    versions = {package: importlib.metadata.version(package) for package in packages if package in has}
    versions["redis (client)"] = versions.pop("redis", "none")
    if (server := shutil.which("redis-server")) is not None:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
        versions["redis"] = said.split("v=")[1].split()[0]
    return {
        "command": "cargo xtask bench peers --only feast",
        "machine": part.machine(),
        "versions": versions,
        "absent": absent,
        "setting": f"{ROWS} rows of float32 in every store, one process that asks on the same cores as the servers; "
        f"{arguments.rounds} interleaved rounds, {arguments.seconds} s for each and shape; all answers were compared "
        "first. Feast's own work is what its null store shows, which answers what it built before.",
        "figures": figures,
    }


if __name__ == "__main__":
    main()
