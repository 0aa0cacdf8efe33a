"""`/get-online-features` of `thermae serve` beside Feast's own feature server over SQLite, on the same data.

    cargo xtask bench peers --only feast-http

100 entities x 50 float32 features of one view, one keep-alive connection each, requests in turns, answers compared.
"""

import argparse
import functools
import http.client
import importlib.metadata
import json
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float32
from feast.value_type import ValueType

import part

ENTITIES, FEATURES = 100, 50
NAMES = [f"f{at}" for at in range(FEATURES)]
NOW = datetime.now(timezone.utc).replace(microsecond=0)
BODY = json.dumps({"entities": {"uid": list(range(ENTITIES))}, "features": [f"users:{name}" for name in NAMES]})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def frame():
    random = np.random.default_rng(1)
    rows = {"uid": np.arange(ENTITIES), "event_timestamp": [NOW] * ENTITIES, "created": [NOW] * ENTITIES}
    return pd.DataFrame(rows | {name: random.random(ENTITIES, dtype="float32") for name in NAMES})


def start_feast(folder):
    """Feast's server over SQLite, its own default, with the rows in it; where it listens."""
    (folder / "feature_store.yaml").write_text(
        "project: shop\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "online_store:\n  type: sqlite\n  path: online.db\n"
    )
    frame().to_parquet(folder / "users.parquet")
    file = FileSource(path=str(folder / "users.parquet"), timestamp_field="event_timestamp")
    user = Entity(name="user", join_keys=["uid"], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=Float32) for name in NAMES]
    view = FeatureView(name="users", entities=[user], ttl=timedelta(0), schema=schema, source=file)
    store = FeatureStore(repo_path=str(folder))
    store.apply([user, view])
    store.write_to_online_store("users", frame())
    port = free_port()
    program = str(Path(sys.executable).parent / "feast")
    command = [program, "-c", str(folder), "serve", "-p", str(port), "--no-access-log"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), port


def start_thermae(program, folder):
    command = [program, "serve", "--json", "--data", str(folder / "data"), "--listen", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", "--memory", "256MiB", "--cores", "1"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    ready = json.loads(server.stdout.readline())
    features = ", ".join(f'{{ name = "{name}", type = "float32" }}' for name in NAMES)
    definitions = folder / "users.toml"
    definitions.write_text(
        'format = 1\nproject = "shop"\n[entities.user]\njoin_keys = [{ name = "uid", type = "int64" }]\n'
        f'[views.users]\nentities = ["user"]\nttl = "0"\nfeatures = [{features}]\n'
    )
    apply = [program, "--server", ready["tcp"], "apply", str(definitions)]
    subprocess.run(apply, check=True, stdout=subprocess.DEVNULL)
    port = int(ready["http"].rsplit(":", 1)[1])
    rows = frame()
    df = {name: rows[name].tolist() for name in ["uid", *NAMES]} | {"event_timestamp": [NOW.isoformat()] * ENTITIES}
    post(connect(port), "/write-to-online-store", json.dumps({"feature_view_name": "users", "df": df}))
    return server, port


def connect(port):
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.connect()
            return connection
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody listens on port {port}")


def post(connection, path, body):
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text
    return text


def matrix(text):
    answer = json.loads(text)
    columns = dict(zip(answer["metadata"]["feature_names"], answer["results"]))
    return np.array([columns[name]["values"] for name in NAMES], dtype="float32")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--thermae", required=True, help="the server")
    parser.add_argument("--out", help="write the result as JSON")
    parser.add_argument("--smoke", action="store_true", help="one short round")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.1) if arguments.smoke else (5, 20.0)
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / name for name in ("thermae", "feast")}
        for folder in folders.values():
            folder.mkdir()
        ours, our_port = start_thermae(arguments.thermae, folders["thermae"])
        theirs, their_port = start_feast(folders["feast"])
        try:
            connections = {"thermae": connect(our_port), "Feast server": connect(their_port)}
            path = "/get-online-features"
            asks = {name: functools.partial(post, one, path, BODY) for name, one in connections.items()}
            answers = {name: matrix(ask()) for name, ask in asks.items()}
            assert np.array_equal(answers["thermae"], answers["Feast server"]), "the answers differ"
            taken = part.measure(asks, rounds, seconds)
        finally:
            for server in (ours, theirs):
                server.terminate()
                server.wait()
    roles = {"thermae": "ours", "Feast server": "peer"}
    result = {
        "command": "cargo xtask bench peers --only feast-http",
        "machine": part.machine(),
        "versions": {package: importlib.metadata.version(package) for package in ("thermae", "feast")},
        "absent": [],
        "setting": "`/get-online-features` over one keep-alive connection each, from one client in Python on the same "
        f"cores; {rounds} interleaved rounds, {seconds} s each in all; answers compared. Feast's server keeps its rows in "
        "SQLite, its default.",
        "figures": part.figures("A request", f"{ENTITIES} entities x {FEATURES} features", taken, roles),
    }
    part.write(arguments.out, result)


if __name__ == "__main__":
    main()
