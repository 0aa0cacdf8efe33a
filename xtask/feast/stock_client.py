"""A stock Feast client against `thermae serve`: its remote online store over HTTP, its own stubs over gRPC.

Usage: python stock_client.py PATH_OF_THE_THERMAE_PROGRAM
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import grpc
import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource
from feast.errors import FeastError, FeastObjectNotFoundException
from feast.protos.feast.serving import ServingService_pb2 as serving
from feast.protos.feast.serving.ServingService_pb2_grpc import ServingServiceStub
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

DEFINITIONS = """format = 1
project = "shop"
[entities.user]
join_keys = [{ name = "uid", type = "int64" }]
[views.users]
entities = ["user"]
ttl = "0"
source = { file = "users.parquet" }
features = [
  { name = "score", type = "float32" }, { name = "total", type = "float64" }, { name = "visits", type = "int32" },
  { name = "clicks", type = "int64" }, { name = "city", type = "string" }, { name = "active", type = "bool" },
  { name = "seen", type = "timestamp" }, { name = "tags", type = "list<string>" },
  { name = "history", type = "list<float32>" },
]
[views.recent]
entities = ["user"]
ttl = "1h"
features = [{ name = "fresh", type = "int64" }]
[views.world]
ttl = "0"
features = [{ name = "rate", type = "float64" }]
[services.rank]
features = ["users:score,city", "world"]
"""
NOW = datetime.now(timezone.utc).replace(microsecond=0)
TYPES = {
    "score": Float32, "total": Float64, "visits": Int32, "clicks": Int64, "city": String, "active": Bool,
    "seen": UnixTimestamp, "tags": Array(String), "history": Array(Float32),
}
ROWS = {
    "uid": [1, 2],
    "event_timestamp": [NOW, NOW],
    "created": [NOW, NOW],
    "score": [0.1, 16777216.0],
    "total": [0.1, -1e300],
    "visits": [3, -4],
    "clicks": [2**62, 0],
    "city": ["Rome", ""],
    "active": [True, False],
    "seen": [NOW, NOW - timedelta(days=1)],
    "tags": [["a", ""], ["b"]],
    "history": [[0.5, 0.25], [1.0]],
}


def frame():
    rows = pd.DataFrame(ROWS).astype({"score": "float32", "visits": "int32"})
    rows["history"] = [np.array(values, dtype="float32") for values in ROWS["history"]]
    return rows


@contextlib.contextmanager
def served(program, folder):
    """A server with the definitions applied: where its HTTP and its gRPC are."""
    command = [program, "serve", "--json", "--data", str(folder / "data"), "--memory", "128MiB", "--cores", "1"]
    command += ["--source-dir", str(folder)]
    addresses = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    server = subprocess.Popen(command + addresses, stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(server.stdout.readline())
        definitions = folder / "shop.toml"
        definitions.write_text(DEFINITIONS)
        apply = [program, "--server", ready["tcp"], "apply", str(definitions)]
        subprocess.run(apply, check=True, stdout=subprocess.DEVNULL)
        yield ready["http"], ready["grpc"]
    finally:
        server.terminate()
        server.wait()


def repository(folder, http):
    """Feast's side: its own registry and offline store, and our server as its online store."""
    (folder / "feature_store.yaml").write_text(
        "project: shop\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store:\n  type: remote\n  path: http://{http}\n"
    )
    frame().to_parquet(folder / "users.parquet")
    file = FileSource(
        name="users_file", path=str(folder / "users.parquet"),
        timestamp_field="event_timestamp", created_timestamp_column="created",
    )
    pushed = PushSource(name="users_push", batch_source=file)
    user = Entity(name="user", join_keys=["uid"], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=dtype) for name, dtype in TYPES.items()]
    users = FeatureView(name="users", entities=[user], ttl=timedelta(0), schema=schema, source=pushed)
    recent = FeatureView(
        name="recent", entities=[user], ttl=timedelta(hours=1), schema=[Field(name="fresh", dtype=Int64)], source=file
    )
    world = FeatureView(name="world", entities=[], ttl=timedelta(0), schema=[Field(name="rate", dtype=Float64)], source=file)
    rank = FeatureService(name="rank", features=[users[["score", "city"]], world])
    store = FeatureStore(repo_path=str(folder))
    store.apply([user, file, users, recent, world, rank])
    return store


def read(store, features, users, **options):
    rows = [{"uid": user} for user in users]
    return store.get_online_features(features=features, entity_rows=rows, **options).to_dict()


def test_materialised_rows_come_back(store, **_):
    store.materialize(NOW - timedelta(days=1), NOW + timedelta(seconds=1), feature_views=["users"])
    store.materialize_incremental(NOW + timedelta(seconds=1))
    names = [name for name in TYPES if name not in ("seen",)]
    answer = read(store, [f"users:{name}" for name in names], [2, 9, 1, 2])
    for name in names:
        first, second = ROWS[name]
        assert answer[name] == [second, None, first, second], (name, answer[name])
    assert answer["uid"] == [2, 9, 1, 2]
    seen = read(store, ["users:seen"], [1])["seen"]
    assert seen == [int(NOW.timestamp())], seen


def test_pushed_and_written_rows_come_back(store, **_):
    rows = {name: values[:1] for name, values in ROWS.items()} | {"uid": [5], "score": [0.7]}
    store.push("users_push", pd.DataFrame(rows))
    assert read(store, ["users:score"], [5])["score"] == [0.7]
    rows |= {"score": [0.9], "event_timestamp": [NOW - timedelta(days=1)]}
    store.write_to_online_store("users", pd.DataFrame(rows))
    assert read(store, ["users:score"], [5])["score"] == [0.7], "an older row replaces none"


def test_a_view_without_entity_a_service_and_full_names(store, **_):
    rows = pd.DataFrame({"event_timestamp": [NOW], "created": [NOW], "rate": [1.25]})
    store.write_to_online_store("world", rows)
    answer = read(store, store.get_feature_service("rank"), [5, 6], full_feature_names=True)
    assert answer["world__rate"] == [1.25, 1.25] and answer["users__city"] == ["Rome", None], answer
    assert store.get_online_features(features=["world:rate"], entity_rows=[{}]).to_dict()["rate"] == [1.25]


def test_ttl_is_enforced_when_it_is_read(store, **_):
    for age, value in [(timedelta(hours=2), None), (timedelta(minutes=1), 7)]:
        rows = {"uid": [1], "event_timestamp": [NOW - age], "created": [NOW], "fresh": [7]}
        store.write_to_online_store("recent", pd.DataFrame(rows))
        assert read(store, ["recent:fresh"], [1])["fresh"] == [value]


def test_errors_are_feasts_own(store, **_):
    for features, kind, what in [
        (["nobody:x"], FeastObjectNotFoundException, "nobody"),
        (["users:nothing"], FeastObjectNotFoundException, "nothing"),
        (["users:score", "users:score"], FeastError, "twice"),
    ]:
        try:
            read(store, features, [1])
        except kind as error:
            assert what in str(error), error
        else:
            raise AssertionError(f"{features} were answered")


def test_the_async_client(store, **_):
    rows = [{"uid": 1}]
    try:
        answer = asyncio.run(store.get_online_features_async(features=["users:city"], entity_rows=rows))
    except NotImplementedError:
        return  # Feast's remote store has no asynchronous reads of its own in 0.67.
    assert answer.to_dict()["city"] == ["Rome"]


def test_grpc_answers_by_feasts_own_stubs(address, **_):
    with grpc.insecure_channel(address) as channel:
        stub = ServingServiceStub(channel)
        assert stub.GetFeastServingInfo(serving.GetFeastServingInfoRequest()).version.startswith("thermae")
        users = RepeatedValue(val=[Value(int64_val=user) for user in (1, 9)])
        names = [name for name in TYPES]
        request = serving.GetOnlineFeaturesRequest(
            features=serving.FeatureList(val=[f"users:{name}" for name in names]), entities={"uid": users}
        )
        answer = stub.GetOnlineFeatures(request)
        assert list(answer.metadata.feature_names.val) == ["uid", *names]
        kinds = {"score": "float_val", "total": "double_val", "visits": "int32_val", "clicks": "int64_val",
                 "city": "string_val", "active": "bool_val", "seen": "unix_timestamp_val"}
        for name, result in zip(names, answer.results[1:]):
            assert list(result.statuses) == [serving.PRESENT, serving.NOT_FOUND], name
            assert result.event_timestamps[0].seconds == int(NOW.timestamp()), name
            if name in kinds:
                assert result.values[0].WhichOneof("val") == kinds[name], name
            assert result.values[1].WhichOneof("val") is None, name
        lists = dict(zip(names, answer.results[1:]))
        assert list(lists["tags"].values[0].string_list_val.val) == ["a", ""]
        assert len(lists["history"].values[0].float_list_val.val) == 2
        for entities, features, code in [
            ({"uid": RepeatedValue(val=[Value(string_val="x")])}, ["users:score"], grpc.StatusCode.INVALID_ARGUMENT),
            ({"uid": users}, ["users:none"], grpc.StatusCode.NOT_FOUND),
            ({}, [], grpc.StatusCode.INVALID_ARGUMENT),
        ]:
            request = serving.GetOnlineFeaturesRequest(features=serving.FeatureList(val=features), entities=entities)
            try:
                stub.GetOnlineFeatures(request)
            except grpc.RpcError as error:
                assert error.code() == code, error
            else:
                raise AssertionError(f"{features} were answered")


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with served(sys.argv[1], folder) as (http, address):
            store = repository(folder, http)
            for name, test in tests:
                test(store=store, address=address)
                print(f"{name} ... ok", flush=True)
    print(f"{len(tests)} passed, 0 failed")


if __name__ == "__main__":
    main()
