"""Online reads: values, order, statuses, and every form of an answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import struct
import threading
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import NOW_US, SHOP, Server, times

import thermae
from thermae import Status

VALUES = ["activity:clicks,score,city"]


def test_rows_come_in_the_order_asked_with_repeats_and_unknown_keys(shop: thermae.FeatureStore) -> None:
    answer = shop.get_online_features(["activity:city,clicks"], {"user": [2, 9, 1, 2]})
    assert answer.to_dict() == {"city": ["", None, "Bern", ""], "clicks": [None, None, 10, None]}
    assert answer.statuses()["clicks"].tolist() == [
        Status.NULL_VALUE,
        Status.NOT_FOUND,
        Status.PRESENT,
        Status.NULL_VALUE,
    ]


def test_a_row_older_than_its_ttl_is_withheld_and_says_when_it_was(shop: thermae.FeatureStore) -> None:
    answer = shop.get_online_features(VALUES, {"user": [3]})
    assert answer.to_dict() == {"clicks": [None], "score": [None], "city": [None]}
    assert answer.statuses()["clicks"].tolist() == [Status.OUTSIDE_MAX_AGE]
    assert answer.event_times()["clicks"].tolist() == [times(NOW_US - 7_200_000_000)[0].replace(tzinfo=None)]
    earlier = shop.get_online_features(VALUES, {"user": [3]}, read_time=NOW_US - 7_200_000_000)
    assert earlier.to_dict() == {"clicks": [30], "score": [None], "city": [None]}


def test_a_service_has_its_columns_order_and_names(shop: thermae.FeatureStore) -> None:
    answer = shop.get_online_features("ranking", {"user": [1, 2], "item": ["b", "zzz"]})
    assert answer.names == ["score", "clicks", "cost"]
    assert answer.to_dict() == {"score": [0.5, 1.5], "clicks": [10, None], "cost": [2.25, None]}


def test_the_long_form_of_a_pick_renames_keys_and_columns(shop: thermae.FeatureStore) -> None:
    picks = [
        {"view": "items", "features": ["price"], "as": "bought", "join_keys": {"item": "first"}},
        {"view": "items", "features": ["price"], "as": "seen", "join_keys": {"item": "second"}},
    ]
    answer = shop.get_online_features(picks, {"first": ["a"], "second": ["b"]}, full_names=True)
    assert answer.to_dict() == {"bought__price": [9.5], "seen__price": [2.25]}


def test_numpy_keeps_integers_and_marks_nulls(shop: thermae.FeatureStore) -> None:
    arrays = shop.get_online_features(VALUES, {"user": np.array([1, 2])}).to_numpy()
    assert arrays["clicks"].dtype == np.int64
    assert isinstance(arrays["clicks"], np.ma.MaskedArray)
    assert arrays["clicks"].tolist() == [10, None]
    assert arrays["score"].dtype == np.float32
    assert arrays["score"].tolist() == [0.5, 1.5]
    assert arrays["city"].tolist() == ["Bern", ""]
    whole = shop.get_online_features(VALUES, {"user": [1]}).to_numpy()
    assert not isinstance(whole["clicks"], np.ma.MaskedArray)


def test_a_matrix_is_one_float32_block_with_nan_for_null(shop: thermae.FeatureStore) -> None:
    keys = {"user": [1, 2, 9], "item": ["a", "b", "a"]}
    matrix = shop.get_online_matrix(["activity:clicks,score", "items:price,stock"], keys)
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert matrix.flags.writeable
    expected = [[10, 0.5, 9.5, 0], [np.nan, 1.5, 2.25, 0], [np.nan, np.nan, 9.5, 0]]
    np.testing.assert_array_equal(matrix, np.array(expected, dtype=np.float32))
    with pytest.raises(thermae.InvalidRequestError):
        shop.get_online_matrix(["activity:city"], {"user": [1]})


def test_arrow_pandas_and_polars_have_the_same_values(shop: thermae.FeatureStore) -> None:
    answer = shop.get_online_features(VALUES, {"user": [1, 2]})
    table = answer.to_arrow()
    assert table.schema.types == [pa.int64(), pa.float32(), pa.string()]
    assert table.to_pydict() == answer.to_dict()
    assert answer.to_pandas()["city"].tolist() == ["Bern", ""]
    assert answer.to_polars()["clicks"].to_list() == [10, None]


def test_entities_may_be_a_frame_rows_or_columns(shop: thermae.FeatureStore) -> None:
    import pandas as pd
    import polars as pl

    columns = {"user": [2, 1], "more": ["x", "y"]}
    expected = {"clicks": [None, 10]}
    forms = [
        columns,
        [{"user": 2, "more": "x"}, {"user": 1, "more": "y"}],
        pd.DataFrame(columns),
        pl.DataFrame(columns),
        pa.table(columns),
        {"user": np.array([2, 1], dtype=np.int32)},
        {"user": pd.Series([2, 1])},
    ]
    for form in forms:
        assert shop.get_online_features(["activity:clicks"], form).to_dict() == expected, type(form)


def test_an_empty_request_has_an_empty_answer(shop: thermae.FeatureStore) -> None:
    answer = shop.get_online_features(VALUES, {"user": []})
    assert len(answer) == 0
    assert answer.to_dict() == {"clicks": [], "score": [], "city": []}
    assert answer.to_arrow().num_rows == 0
    assert shop.get_online_matrix(["activity:score"], {"user": []}).shape == (0, 1)


EVERY = """
format = 1
project = "every"
[entities.thing]
join_keys = [{ name = "id", type = "uuid" }, { name = "part", type = "int32" }]
[views.kinds]
entities = ["thing"]
ttl = "0"
features = [
  { name = "bool", type = "bool" }, { name = "int32", type = "int32" }, { name = "int64", type = "int64" },
  { name = "float32", type = "float32" }, { name = "float64", type = "float64" }, { name = "string", type = "string" },
  { name = "bytes", type = "bytes" }, { name = "timestamp", type = "timestamp" }, { name = "uuid", type = "uuid" },
  { name = "json", type = "json" }, { name = "vector", type = "vector<float32, 3>" },
  { name = "opaque", type = "opaque<thing>" }, { name = "ints", type = "list<int64>" },
  { name = "texts", type = "list<string>" }, { name = "moments", type = "list<timestamp>" },
]
[views.alone]
ttl = "0"
features = [{ name = "rate", type = "float64" }]
"""


def test_every_type_comes_back_bit_for_bit(store: thermae.FeatureStore) -> None:
    store.apply(EVERY)
    one, two = uuid.uuid4(), uuid.uuid4()
    moment = dt.datetime(2013, 7, 1, 5, 0, 0, 123456, tzinfo=dt.timezone.utc)
    values = {
        "bool": True,
        "int32": -(2**31),
        "int64": 2**63 - 1,
        "float32": struct.unpack("<f", b"\x01\x00\x00\x00")[0],
        "float64": -0.0,
        "string": "a\0b",
        "bytes": b"",
        "timestamp": moment,
        "uuid": one,
        "json": '{"a": 1.0}',
        "vector": [1.0, -2.5, 0.0],
        "opaque": b"\xff\x00",
        "ints": [2**62, -1],
        "texts": ["", "ü"],
        "moments": [moment],
    }
    row = {"id": two.bytes, "part": 7, "event_timestamp": moment, **values, "uuid": one.bytes}
    nulls = {**dict.fromkeys(values), "id": two.bytes, "part": 8, "event_timestamp": moment}
    store.push("kinds", [row, nulls])
    answer = store.get_online_features(["kinds"], {"id": [two, str(two)], "part": [7, 8]})
    found = answer.to_dict()
    assert {name: column[0] for name, column in found.items()} == values
    assert struct.pack("<d", found["float64"][0]) == struct.pack("<d", -0.0)
    assert all(column[1] is None for column in found.values())
    arrays = answer.to_numpy()
    assert arrays["vector"].shape == (2, 3)
    assert np.isnat(arrays["timestamp"][1])
    assert arrays["uuid"][0] == one
    assert answer.to_arrow().num_columns == len(values)
    assert answer.types["ints"] == "list<int64>"


def test_a_view_without_entity_has_one_row(store: thermae.FeatureStore) -> None:
    store.apply(EVERY)
    store.push("alone", {"rate": [0.5]}, at=NOW_US - 1_000_000)
    assert store.get_online_features(["alone:rate"]).to_dict() == {"rate": [0.5]}


def test_async_reads_answer_the_same_side_by_side(shop: thermae.FeatureStore) -> None:
    async def read() -> list[thermae.OnlineAnswer]:
        reads = [shop.get_online_features_async(VALUES, {"user": [user % 3 + 1]}) for user in range(50)]
        return await asyncio.gather(*reads)

    blocking = [shop.get_online_features(VALUES, {"user": [user + 1]}).to_dict() for user in range(3)]
    answers = asyncio.run(read())
    assert [answer.to_dict() for answer in answers] == [blocking[user % 3] for user in range(50)]


def test_threads_read_and_write_one_store(shop: thermae.FeatureStore) -> None:
    wrong: list[object] = []

    def work(user: int) -> None:
        for value in range(20):
            shop.push("activity", {"user": [user], "clicks": [value], "score": [0.0], "city": ["x"]}, at=NOW_US)
            found = shop.get_online_features(["activity:clicks"], {"user": [user]}).to_dict()["clicks"]
            if found != [value]:
                wrong.append((user, value, found))

    threads = [threading.Thread(target=work, args=(user,)) for user in range(100, 104)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_entities_of_a_view_are_those_with_a_row(shop: thermae.FeatureStore) -> None:
    assert sorted(shop.entities("activity")["user"]) == [1, 2, 3]
    assert sorted(shop.entities("items")["item"]) == ["a", "b"]


def test_a_switched_view_is_read_by_its_name_at_once(server: Server) -> None:
    with thermae.connect(server.address) as store:
        store.apply(SHOP)
        store.push("items", {"item": ["a"], "price": [1.0]}, at=NOW_US)
        assert store.get_online_features(["items:price"], {"item": ["a"]}).to_dict() == {"price": [1.0]}
        second = SHOP.replace("[views.items]", '[views."items@2"]').split("[services.ranking]")[0]
        other = thermae.connect(server.address)
        other.apply(second)
        other.push("items@2", {"item": ["a"], "price": [2.0]}, at=NOW_US)
        assert store.get_online_features(["items:price"], {"item": ["a"]}).to_dict() == {"price": [2.0]}


ON_DEMAND = """
[on_demand.offer]
inputs = ["items:price", "activity:clicks"]
request = [{ name = "amount", type = "int64" }, { name = "rebate", type = "float32" }]
features = [
  { name = "total", type = "float64", expression = "price * amount * (1.0 - rebate)" },
  { name = "word", type = "string", expression = "case when amount > 1 then 'many' else 'one' end" },
]
[services.offers]
features = ["activity:city", "offer:total"]
"""


@pytest.fixture
def offers(shop: thermae.FeatureStore) -> thermae.FeatureStore:
    shop.apply(SHOP + ON_DEMAND)
    return shop


def test_on_demand_features_are_computed_of_rows_and_of_what_the_request_brings(offers: thermae.FeatureStore) -> None:
    entities = {"user": [1, 1, 2], "item": ["a", "b", "z"], "amount": [2, 1, 1], "rebate": [0.5, 0.0, 0.25]}
    answer = offers.get_online_features(["offer:total,word", "activity:clicks"], entities)
    assert answer.names == ["total", "word", "clicks"]
    assert answer.to_dict() == {"total": [9.5, 2.25, None], "word": ["many", "one", "one"], "clicks": [10, 10, None]}
    assert answer.statuses()["total"].tolist() == [Status.PRESENT, Status.PRESENT, Status.NULL_VALUE]
    # Of any table, by a service, as a matrix, awaited.
    table = pa.table({**entities, "more": ["x"] * 3})
    assert offers.get_online_features("offers", table).to_dict()["total"] == [9.5, 2.25, None]
    rows = [{name: values[at] for name, values in entities.items()} for at in range(3)]
    assert offers.get_online_features("offers", rows).to_dict()["city"] == ["Bern", "Bern", ""]
    matrix = offers.get_online_matrix(["offer:total", "activity:clicks"], entities)
    assert (
        matrix.dtype == np.float32 and matrix[:2].tolist() == [[9.5, 10.0], [2.25, 10.0]] and np.isnan(matrix[2]).all()
    )
    awaited = asyncio.run(offers.get_online_features_async("offers", pd.DataFrame(entities)))
    assert awaited.to_arrow().column("total").to_pylist() == [9.5, 2.25, None]


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("amount", ["two", "x"], "'amount', row 0|\"amount\", row 0"),
        ("amount", [1.5, 2.0], '"amount", row 0'),
        ("amount", [1.0, float("nan")], '"amount", row 0: expected int64, found float64'),
        ("rebate", [True, False], '"rebate", row 0'),
        ("amount", [1, 2, 3], "has 3 rows"),
        ("amount", None, 'must bring "amount" \\(int64\\)'),
        ("item", None, 'join key "item"'),
        ("user", [1, None], "row 1"),
    ],
)
def test_request_data_that_does_not_fit_is_named(
    offers: thermae.FeatureStore, column: str, values: Any, told: str
) -> None:
    entities: dict[str, Any] = {"user": [1, 1], "item": ["a", "b"], "amount": [2, 1], "rebate": [0.5, 0.0]}
    if values is None:
        del entities[column]
    else:
        entities[column] = values
    with pytest.raises(thermae.InvalidRequestError, match=told):
        offers.get_online_features(["offer:total"], entities)


def test_a_changed_registry_is_followed(offers: thermae.FeatureStore) -> None:
    entities = {"user": [1], "item": ["a"], "amount": [1], "rebate": [0.0]}
    assert offers.get_online_features(["offer:total"], entities).to_dict() == {"total": [9.5]}
    changed = ON_DEMAND.replace('type = "float64", expression', 'type = "float64", description = "d", expression')
    offers.apply(
        SHOP + changed + '[views.more]\nentities = ["user"]\nttl = "0"\nfeatures = [{ name = "n", type = "int32" }]\n'
    )
    assert offers.get_online_features(["offer:total"], entities).to_dict() == {"total": [9.5]}
