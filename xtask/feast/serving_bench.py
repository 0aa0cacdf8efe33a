"""`/get-online-features` of `thermae serve` beside Feast's own feature server over SQLite, on the same data.

Usage: python serving_bench.py PATH_OF_THE_THERMAE_PROGRAM

100 entities x 50 float32 features of one view, one keep-alive connection each, requests in turns, answers compared.
"""

import http.client
import json
import socket
import statistics
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

ENTITIES, FEATURES, ROUNDS, TURNS = 100, 50, 5, 60
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
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / name for name in ("thermae", "feast")}
        for folder in folders.values():
            folder.mkdir()
        ours, our_port = start_thermae(sys.argv[1], folders["thermae"])
        theirs, their_port = start_feast(folders["feast"])
        try:
            connections = {"thermae": connect(our_port), "feast": connect(their_port)}
            answers = {name: post(one, "/get-online-features", BODY) for name, one in connections.items()}
            assert np.array_equal(matrix(answers["thermae"]), matrix(answers["feast"])), "the answers differ"
            times_us = {name: [] for name in connections}
            for _ in range(ROUNDS):
                for name, connection in connections.items():
                    for _ in range(TURNS):
                        start = time.perf_counter()
                        post(connection, "/get-online-features", BODY)
                        times_us[name].append((time.perf_counter() - start) * 1e6)
        finally:
            for server in (ours, theirs):
                server.terminate()
                server.wait()
    print(f"{ENTITIES} entities x {FEATURES} float32, {ROUNDS * TURNS} requests each, client in Python, answers equal")
    for name, times in times_us.items():
        times.sort()
        p50, p99 = statistics.median(times), times[len(times) * 99 // 100]
        print(f"{name:8} p50 {p50:9.0f} us   p99 {p99:9.0f} us   answer {len(answers[name])} bytes")
    ratio = statistics.median(times_us["feast"]) / statistics.median(times_us["thermae"])
    print(f"Feast's p50 is {ratio:.1f} times ours")


if __name__ == "__main__":
    main()
