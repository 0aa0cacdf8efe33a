"""Feast over Thermae: its own example, every kind of value, and the rules of online reads."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Server

feast = pytest.importorskip("feast")

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource  # noqa: E402
from feast.data_source import PushMode  # noqa: E402
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus  # noqa: E402
from feast.protos.feast.types.EntityKey_pb2 import EntityKey  # noqa: E402
from feast.protos.feast.types.Value_pb2 import Value  # noqa: E402
from feast.repo_config import RepoConfig  # noqa: E402
from feast.types import (  # noqa: E402
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    UnixTimestamp,
    Uuid,
)
from feast.value_type import ValueType  # noqa: E402

from thermae.feast import _views  # noqa: E402

NOW = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


def hours_ago(hours: float) -> dt.datetime:
    return NOW - dt.timedelta(hours=hours)


@pytest.fixture(params=["path", "address"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], FeatureStore]]:
    """Makes Feast stores over one place: a directory, or a server."""
    if request.param == "path":
        place = {"path": str(tmp_path / "thermae")}
    else:
        running: Server = request.getfixturevalue("server")
        place = {"address": running.address}

    def make() -> FeatureStore:
        config = RepoConfig(
            project="shop",
            registry=str(tmp_path / "registry.db"),
            provider="local",
            online_store={"type": "thermae.feast.ThermaeOnlineStore", **place},
            offline_store={"type": "thermae.feast.ThermaeOfflineStore", **place},
            entity_key_serialization_version=3,
            repo_path=str(tmp_path),
        )
        return FeatureStore(config=config)

    yield make
    _views.close_stores()


def example(folder: Path) -> list[object]:
    """User and item views over files, as Feast's users write them."""
    users = pd.DataFrame(
        {
            "user_id": [1, 1, 2, 3],
            "event_timestamp": [hours_ago(30), hours_ago(2), hours_ago(3), hours_ago(80)],
            "created": [hours_ago(30), hours_ago(2), hours_ago(3), hours_ago(80)],
            "clicks_7d": [5, 9, 3, 1],
            "ctr": [0.1, 0.5, 0.25, 0.75],
            "country": ["CH", "CH", "IT", None],
        }
    )
    items = pd.DataFrame(
        {
            "item_id": ["a", "b"],
            "event_timestamp": [hours_ago(5), hours_ago(4)],
            "price": [9.5, 2.25],
            "tags": [["red", "new"], []],
        }
    )
    users.to_parquet(folder / "users.parquet")
    items.to_parquet(folder / "items.parquet")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    source = FileSource(
        name="users",
        path=str(folder / "users.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    user_features = FeatureView(
        name="user_features",
        entities=[user],
        ttl=dt.timedelta(days=1),
        schema=[
            Field(name="user_id", dtype=Int64),
            Field(name="clicks_7d", dtype=Int64),
            Field(name="ctr", dtype=Float32),
            Field(name="country", dtype=String),
        ],
        source=PushSource(name="users_push", batch_source=source),
        tags={"team": "ranking"},
    )
    item_features = FeatureView(
        name="item_features",
        entities=[item],
        ttl=dt.timedelta(0),
        schema=[Field(name="price", dtype=Float64), Field(name="tags", dtype=Array(String))],
        source=FileSource(path=str(folder / "items.parquet"), timestamp_field="event_timestamp"),
    )
    ranking = FeatureService(name="ranking", features=[user_features[["ctr", "clicks_7d"]], item_features])
    return [user, item, user_features, item_features, ranking]


def test_the_example_serves_and_trains(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    store.apply(example(tmp_path))
    frame = pd.DataFrame(
        {
            "user_id": [2, 1, 1, 3, 9],
            "item_id": ["a", "b", "a", "a", "b"],
            "event_timestamp": [hours_ago(1), hours_ago(1), hours_ago(20), hours_ago(1), hours_ago(1)],
            "label": [0, 1, 0, 1, 0],
        }
    )
    features = ["user_features:clicks_7d", "user_features:ctr", "item_features:price", "item_features:tags"]
    training = store.get_historical_features(entity_df=frame, features=features).to_df()
    assert training["label"].tolist() == [0, 1, 0, 1, 0]
    clicks = [None if pd.isna(value) else value for value in training["clicks_7d"]]
    # The third row's time is before the item's; the fourth user's row is older than a day.
    assert clicks == [3, 9, 5, None, None]
    prices = [None if pd.isna(value) else value for value in training["price"]]
    assert prices == [9.5, 2.25, None, 9.5, 2.25]
    service = store.get_historical_features(entity_df=frame, features=store.get_feature_service("ranking")).to_df()
    assert set(service.columns) == {*frame.columns, "ctr", "clicks_7d", "price", "tags"}

    keys = [{"user_id": 1, "item_id": "b"}, {"user_id": 9, "item_id": "a"}, {"user_id": 1, "item_id": "b"}]
    before = store.get_online_features(features, keys).to_dict()
    assert before["clicks_7d"] == [None, None, None]
    for _ in range(2):
        store.materialize(hours_ago(100), NOW)
        served = store.get_online_features(features, keys).to_dict()
        assert served["clicks_7d"] == [9, None, 9]
        assert served["ctr"] == [0.5, None, 0.5]
        assert served["price"] == [2.25, 9.5, 2.25]
        assert served["tags"] == [[], ["red", "new"], []]
    full = store.get_online_features(store.get_feature_service("ranking"), keys, full_feature_names=True).to_dict()
    assert full["user_features__ctr"] == [0.5, None, 0.5]
    frame = store.get_online_features(features, keys).to_df()
    assert frame["clicks_7d"].tolist()[0] == 9


def test_statuses_and_ttl(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    store.apply(example(tmp_path))
    store.materialize(hours_ago(100), NOW)
    proto = store.get_online_features(
        ["user_features:country", "user_features:ctr"], [{"user_id": 2}, {"user_id": 3}, {"user_id": 4}]
    ).proto
    country = proto.results[list(proto.metadata.feature_names.val).index("country")]
    assert list(country.statuses) == [FieldStatus.PRESENT, FieldStatus.OUTSIDE_MAX_AGE, FieldStatus.NOT_FOUND]
    assert country.event_timestamps[1].ToDatetime(tzinfo=dt.timezone.utc) == hours_ago(80)
    assert country.values[1].WhichOneof("val") is None
    assert country.event_timestamps[2].seconds == 0


def test_push_reaches_where_it_is_sent(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    store.apply(example(tmp_path))
    row = {"user_id": [7], "event_timestamp": [hours_ago(1)], "created": [hours_ago(1)], "clicks_7d": [70]}
    row = {**row, "ctr": [0.5], "country": ["DE"]}
    store.push("users_push", pd.DataFrame(row), to=PushMode.ONLINE)
    spine = pd.DataFrame({"user_id": [7], "event_timestamp": [NOW]})
    features = ["user_features:clicks_7d"]
    assert store.get_online_features(features, [{"user_id": 7}]).to_dict()["clicks_7d"] == [70]
    assert pd.isna(store.get_historical_features(spine, features).to_df()["clicks_7d"].iloc[0])
    store.push("users_push", pd.DataFrame({**row, "clicks_7d": [71]}), to=PushMode.ONLINE_AND_OFFLINE)
    assert store.get_online_features(features, [{"user_id": 7}]).to_dict()["clicks_7d"] == [71]
    assert store.get_historical_features(spine, features).to_df()["clicks_7d"].tolist() == [71]
    older = {**row, "event_timestamp": [hours_ago(5)], "clicks_7d": [1]}
    store.push("users_push", pd.DataFrame(older), to=PushMode.ONLINE)
    assert store.get_online_features(features, [{"user_id": 7}]).to_dict()["clicks_7d"] == [71]


def test_async_reads_and_writes(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    store.apply(example(tmp_path))
    store.materialize(hours_ago(100), NOW)
    features = ["user_features:clicks_7d", "item_features:price"]

    async def read() -> list[dict[str, list[object]]]:
        keys = [{"user_id": 1, "item_id": "a"}]
        answers = [store.get_online_features_async(features, keys) for _ in range(10)]
        return [answer.to_dict() for answer in await asyncio.gather(*answers)]

    found = asyncio.run(read())
    assert all(answer["clicks_7d"] == [9] and answer["price"] == [9.5] for answer in found)


def test_a_changed_file_is_loaded_again(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    store.apply(example(tmp_path))
    spine = pd.DataFrame({"item_id": ["a"], "event_timestamp": [NOW]})
    assert store.get_historical_features(spine, ["item_features:price"]).to_df()["price"].tolist() == [9.5]
    table = pq.read_table(tmp_path / "items.parquet")
    changed = table.set_column(table.schema.get_field_index("price"), "price", pa.array([1.0, 2.0]))
    pq.write_table(changed, tmp_path / "items.parquet")
    assert store.get_historical_features(spine, ["item_features:price"]).to_df()["price"].tolist() == [1.0]


def test_an_alias_joins_by_another_key(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    objects = example(tmp_path)
    store.apply(objects)
    store.materialize(hours_ago(100), NOW)
    view = next(one for one in objects if isinstance(one, FeatureView) and one.name == "item_features")
    seen = view.with_name("seen").with_join_key_map({"item_id": "seen_id"})
    bought = view.with_name("bought").with_join_key_map({"item_id": "bought_id"})
    store.apply([FeatureService(name="pair", features=[seen[["price"]], bought[["price"]]])])
    service = store.get_feature_service("pair")
    keys = [{"seen_id": "a", "bought_id": "b"}]
    served = store.get_online_features(service, keys, full_feature_names=True).to_dict()
    assert (served["seen__price"], served["bought__price"]) == ([9.5], [2.25])
    spine = pd.DataFrame({"seen_id": ["a"], "bought_id": ["b"], "event_timestamp": [NOW]})
    joined = store.get_historical_features(spine, service, full_feature_names=True).to_df()
    assert (joined["seen__price"].tolist(), joined["bought__price"].tolist()) == ([9.5], [2.25])


def test_a_view_without_entity(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    pd.DataFrame({"event_timestamp": [hours_ago(2), hours_ago(1)], "rate": [0.5, 0.25]}).to_parquet(
        tmp_path / "rates.parquet"
    )
    rates = FeatureView(
        name="rates",
        entities=[],
        ttl=dt.timedelta(days=1),
        schema=[Field(name="rate", dtype=Float64)],
        source=FileSource(path=str(tmp_path / "rates.parquet"), timestamp_field="event_timestamp"),
    )
    store.apply([*example(tmp_path), rates])
    store.materialize(hours_ago(100), NOW)
    # Feast takes no request without entities.
    served = store.get_online_features(["rates:rate", "user_features:clicks_7d"], [{"user_id": 1}, {"user_id": 9}])
    assert served.to_dict()["rate"] == [0.25, 0.25]
    assert served.to_dict()["clicks_7d"] == [9, None]
    spine = pd.DataFrame({"event_timestamp": [hours_ago(1.5), NOW], "row": [0, 1]})
    assert store.get_historical_features(spine, ["rates:rate"]).to_df()["rate"].tolist() == [0.5, 0.25]


def test_incompatible_changes_and_teardown_begin_anew(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    objects = example(tmp_path)
    store.apply(objects)
    store.materialize(hours_ago(100), NOW)
    changed = FeatureView(
        name="item_features",
        entities=[objects[1]],
        schema=[Field(name="price", dtype=String), Field(name="tags", dtype=Array(String))],
        source=objects[3].batch_source,
    )
    store.apply([changed])
    keys = [{"item_id": "a"}]
    assert store.get_online_features(["item_features:price"], keys).to_dict()["price"] == [None]
    store.teardown()
    store = make_store()
    store.apply(example(tmp_path))
    assert store.get_online_features(["item_features:price"], keys).to_dict()["price"] == [None]
    store.materialize(hours_ago(100), NOW)
    assert store.get_online_features(["item_features:price"], keys).to_dict()["price"] == [9.5]


#: A value of every kind that a field can be declared as.
KINDS = {
    "bytes": (Bytes, Value(bytes_val=b"\0\xff")),
    "string": (String, Value(string_val="a\0ü")),
    "int32": (Int32, Value(int32_val=-(2**31))),
    "int64": (Int64, Value(int64_val=2**63 - 1)),
    "double": (Float64, Value(double_val=-0.0)),
    "float": (Float32, Value(float_val=0.1)),
    "bool": (Bool, Value(bool_val=False)),
    "time": (UnixTimestamp, Value(unix_timestamp_val=-5)),
    "bytes_list": (Array(Bytes), Value(bytes_list_val={"val": [b"", b"x"]})),
    "string_list": (Array(String), Value(string_list_val={"val": ["", "y"]})),
    "int32_list": (Array(Int32), Value(int32_list_val={"val": [-1, 2]})),
    "int64_list": (Array(Int64), Value(int64_list_val={"val": [-(2**63), 2]})),
    "double_list": (Array(Float64), Value(double_list_val={"val": [0.1]})),
    "float_list": (Array(Float32), Value(float_list_val={"val": [0.1, -0.0]})),
    "bool_list": (Array(Bool), Value(bool_list_val={"val": [True, False]})),
    "time_list": (Array(UnixTimestamp), Value(unix_timestamp_list_val={"val": [1, -(2**63)]})),
    "empty_list": (Array(Int64), Value(int64_list_val={"val": []})),
    "json": (Json, Value(json_val='{"a": 1.0}')),
    "uuid": (Uuid, Value(uuid_val=str(uuid.UUID(int=7)))),
    "map": (Map, Value(map_val={"val": {"k": Value(int32_val=1)}})),
    "map_list": (Array(Map), Value(map_list_val={"val": [{"val": {"k": Value(bool_val=True)}}]})),
    "int64_set": (Set(Int64), Value(int64_set_val={"val": [3, 1]})),
    "string_set": (Set(String), Value(string_set_val={"val": ["b"]})),
    "decimal": (Decimal, Value(decimal_val="1.10")),
    "nested": (Array(Array(Int64)), Value(list_val={"val": [Value(int64_list_val={"val": [1]})]})),
}


def test_every_kind_comes_back_bit_for_bit(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    source = FileSource(path=str(tmp_path / "none.parquet"), timestamp_field="event_timestamp")
    pd.DataFrame(
        {"key": pd.Series(dtype="int64"), "event_timestamp": pd.Series(dtype="datetime64[ns, UTC]")}
    ).to_parquet(tmp_path / "none.parquet")
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.INT64)
    fields = [Field(name=name, dtype=kind) for name, (kind, _) in KINDS.items()]
    view = FeatureView(name="kinds", entities=[key], schema=[Field(name="key", dtype=Int64), *fields], source=source)
    store.apply([key, view])
    view = store.get_feature_view("kinds")
    values = {name: value for name, (_, value) in KINDS.items()}
    keys = [EntityKey(join_keys=["key"], entity_values=[Value(int64_val=number)]) for number in (1, 2, 3)]
    rows = [(keys[0], values, hours_ago(1), None), (keys[1], {}, hours_ago(1), hours_ago(1))]
    provider = store._get_provider()
    provider.online_write_batch(store.config, view, rows, None)
    read = provider.online_read(store.config, view, keys, list(KINDS))
    assert read[2] == (None, None)
    assert read[0][0] == hours_ago(1)
    for name, value in values.items():
        assert read[0][1][name].SerializeToString() == value.SerializeToString(), name
        assert read[1][1][name] == Value(), name


def test_vectors_are_found_exactly(make_store: Callable[[], FeatureStore], tmp_path: Path) -> None:
    store = make_store()
    documents = pd.DataFrame(
        {
            "doc": [f"d{row}" for row in range(50)],
            "embedding": [[float(row), 0.0, 1.0] for row in range(50)],
            "title": [f"title {row}" for row in range(50)],
            "event_timestamp": [hours_ago(1)] * 50,
        }
    )
    documents.to_parquet(tmp_path / "documents.parquet")
    doc = Entity(name="doc", join_keys=["doc"], value_type=ValueType.STRING)
    view = FeatureView(
        name="documents",
        entities=[doc],
        schema=[
            Field(name="embedding", dtype=Array(Float32), vector_index=True, vector_length=3),
            Field(name="title", dtype=String),
        ],
        source=FileSource(path=str(tmp_path / "documents.parquet"), timestamp_field="event_timestamp"),
    )
    store.apply([doc, view])
    store.materialize(hours_ago(100), NOW)
    found = store.retrieve_online_documents_v2(
        features=["documents:embedding", "documents:title"], query=[17.2, 0.0, 1.0], top_k=3, distance_metric="L2"
    ).to_dict()
    nearest = sorted(zip(found["distance"], found["title"], found["doc"]))
    assert [one[1:] for one in nearest] == [("title 17", "d17"), ("title 18", "d18"), ("title 16", "d16")]
    assert [one[0] for one in nearest] == pytest.approx([0.2, 0.8, 1.2], abs=1e-5)


def test_the_template_of_feast_runs_as_it_is(server: Server, tmp_path: Path) -> None:
    """``feast init``, another ``feature_store.yaml``, and its own ``test_workflow.py``: apply to teardown."""
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    options = {"env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    subprocess.run([scripts / "feast", "init", "shop"], cwd=tmp_path, check=True, **options)
    repository = tmp_path / "shop" / "feature_repo"
    (repository / "feature_store.yaml").write_text(
        f"""
project: shop
registry: data/registry.db
provider: local
online_store: {{ type: thermae.feast.ThermaeOnlineStore, address: "{server.address}" }}
offline_store: {{ type: thermae.feast.ThermaeOfflineStore, address: "{server.address}" }}
entity_key_serialization_version: 3
"""
    )
    ran = subprocess.run([sys.executable, "test_workflow.py"], cwd=repository, check=False, **options)
    assert ran.returncode == 0, ran.stdout
    assert "driver_1001_updated" in ran.stdout.split("updated values from a stream push")[1], ran.stdout
