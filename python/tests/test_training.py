"""Loads and training reads: rules of the point-in-time join, through every way in."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import NOW_US, SHOP, times

import thermae

HOUR_US = 3_600_000_000
BASE_US = NOW_US - 100 * HOUR_US


def push_history(store: thermae.FeatureStore, rows: list[tuple[int, int, int | None]]) -> None:
    """Rows of (user, event time, clicks)."""
    users, at, clicks = zip(*rows)
    table = {
        "user": list(users),
        "clicks": list(clicks),
        "score": [0.0] * len(rows),
        "city": [""] * len(rows),
        "event_timestamp": times(*at),
    }
    store.push("activity", table)


def test_each_row_gets_what_was_true_at_its_time(store: thermae.FeatureStore) -> None:
    """The naive model is the specification: the newest row at or before, not older than the TTL (an hour)."""
    store.apply(SHOP)
    dice = random.Random(7)
    rows = {
        (user, BASE_US + dice.randrange(0, 20 * HOUR_US)): dice.randrange(100) for user in range(5) for _ in range(30)
    }
    push_history(store, [(user, at, clicks) for (user, at), clicks in rows.items()])
    ends = [at + shift for _, at in rows for shift in (0, HOUR_US, HOUR_US + 1, -1)]
    spine = [(dice.randrange(6), dice.choice(ends)) for _ in range(500)]

    def expected(user: int, at: int) -> int | None:
        found = [time for known, time in rows if known == user and at - HOUR_US <= time <= at]
        return rows[(user, max(found))] if found else None

    frame = pd.DataFrame(
        {"label": range(500), "user": [user for user, _ in spine], "when": times(*[at for _, at in spine])}
    )
    found = store.get_historical_features(frame, ["activity:clicks"], event_time="when").to_arrow()
    assert found.column_names == ["label", "user", "when", "clicks"]
    assert found.column("label").to_pylist() == list(range(500))
    assert found.column("clicks").to_pylist() == [expected(user, at) for user, at in spine]


def test_services_aliases_and_names(shop: thermae.FeatureStore) -> None:
    spine = {"user": [1, None], "item": ["a", "b"], "event_timestamp": times(NOW_US, NOW_US)}
    joined = shop.get_historical_features(spine, "ranking").to_pandas()
    assert joined.columns.tolist() == ["user", "item", "event_timestamp", "score", "clicks", "cost"]
    assert joined["cost"].tolist() == [9.5, 2.25]
    assert joined["score"].iloc[0] == 0.5
    assert pd.isna(joined["score"].iloc[1])
    full = shop.get_historical_features(spine, ["it=items:price"], full_names=True).to_polars()
    assert full["it__price"].to_list() == [9.5, 2.25]


def test_a_training_read_of_many_rows_comes_back_in_order(shop: thermae.FeatureStore) -> None:
    rows = 20_000
    spine = pa.table(
        {
            "user": pa.array([row % 4 for row in range(rows)]),
            "event_timestamp": pa.array([NOW_US] * rows).cast(pa.timestamp("us", tz="UTC")),
            "row": pa.array(range(rows)),
        }
    )
    found = shop.get_historical_features(spine, ["activity:clicks"]).to_arrow()
    assert found.column("row").to_pylist() == list(range(rows))
    assert found.column("clicks").to_pylist() == [[None, 10, None, None][row % 4] for row in range(rows)]


ON_DEMAND = """
[on_demand.offer]
inputs = ["items:price", "activity:clicks"]
request = [{ name = "amount", type = "int32" }, { name = "rebate", type = "float32" }]
features = [
  { name = "total", type = "float64", expression = "price * amount * (1.0 - rebate)" },
  { name = "age_us", type = "int64", expression = "as_of() - cast(cast(amount as int64) as timestamp)" },
]
[on_demand.own]
request = [{ name = "rebate", type = "float32" }]
features = [{ name = "mine", type = "float64", expression = "rebate * 2" }]
[services.offers]
features = ["activity:city", { view = "offer", features = ["total"], rename = { total = "cost" } }]
"""


@pytest.fixture
def offers(shop: thermae.FeatureStore) -> thermae.FeatureStore:
    shop.apply(SHOP + ON_DEMAND)
    return shop


def test_on_demand_features_are_trained_on_as_they_are_served(offers: thermae.FeatureStore) -> None:
    """Python's numbers are of 64 bits: a spine's are taken as those of an online read are."""
    asked = {"user": [1, 1, 2, 9], "item": ["a", "b", "z", "a"], "amount": [2, 1, 1, 3], "rebate": [0.1, 0.0, 0.25, 0.5]}
    frame = pd.DataFrame({**asked, "label": range(4), "event_timestamp": times(*[NOW_US] * 4)})
    features = ["offer", "activity:clicks", "own:mine"]
    served = offers.get_online_features(features, asked, read_time=times(NOW_US)[0]).to_dict()
    trained = offers.get_historical_features(frame, features).to_arrow()
    assert trained.column_names == [*frame.columns, *served]
    assert {name: trained.column(name).to_pylist() for name in served} == served
    assert served["total"][0] == 9.5 * 2 * (1.0 - float(np.float32(0.1)))
    assert trained.column("rebate").to_pylist() == asked["rebate"]
    named = offers.get_historical_features(frame, "offers", full_names=True).to_pandas()
    assert named.columns.tolist()[-2:] == ["activity__city", "cost"]
    # Of the spine alone, and of columns of nulls.
    alone = {"rebate": [0.5, None], "event_timestamp": times(NOW_US, NOW_US)}
    assert offers.get_historical_features(alone, ["own"]).to_arrow().column("mine").to_pylist() == [1.0, None]
    alone["rebate"] = [None, None]
    assert offers.get_historical_features(alone, ["own"]).to_arrow().column("mine").to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("amount", None, "no column 'amount', what features are computed from"),
        ("item", None, "no column 'item'"),
        ("amount", [1, 1 << 40], '"amount", row 1: 1099511627776 is out of range for int32'),
        ("amount", [1.5, 2.5], '"amount", row 0: expected int32, found float64'),
        ("rebate", ["x", "y"], '"rebate", row 0'),
    ],
)
def test_a_spine_whose_request_data_do_not_fit_is_refused(
    offers: thermae.FeatureStore, column: str, values: object, told: str
) -> None:
    spine = {"user": [1, 1], "item": ["a", "b"], "amount": [2, 1], "rebate": [0.5, 0.0]}
    spine["event_timestamp"] = times(NOW_US, NOW_US)
    if values is None:
        del spine[column]
    else:
        spine[column] = values
    with pytest.raises(thermae.InvalidRequestError, match=told):
        offers.get_historical_features(spine, ["offer:total"])


BAD_SPINES = [
    ({"event_timestamp": times(NOW_US)}, ("user",)),
    ({"user": [1]}, ("event_timestamp",)),
    ({"user": [1], "event_timestamp": [5]}, ("event_timestamp", "int64")),
    ({"user": [1], "event_timestamp": [None]}, ("event_timestamp",)),
    ({"user": ["x"], "event_timestamp": times(NOW_US)}, ("user",)),
    ({"user": [1], "clicks": [1], "event_timestamp": times(NOW_US)}, ("clicks", "two columns")),
]


@pytest.mark.parametrize(("spine", "words"), BAD_SPINES, ids=[str(list(bad[0])) for bad in BAD_SPINES])
def test_a_bad_spine_is_refused(shop: thermae.FeatureStore, spine: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(thermae.InvalidRequestError) as caught:
        shop.get_historical_features(spine, ["activity:clicks"])
    for word in words:
        assert word in str(caught.value), str(caught.value)


def source(folder: Path, prices: list[float], hours: list[int]) -> Path:
    path = folder / "items.parquet"
    table = {
        "item": [f"i{row}" for row in range(len(prices))],
        "price": prices,
        "event_timestamp": times(*[BASE_US + hour * HOUR_US for hour in hours]),
    }
    pq.write_table(pa.table(table), path)
    return path


def test_a_file_loads_once_however_often_it_is_loaded(store: thermae.FeatureStore, tmp_path: Path) -> None:
    store.apply(SHOP)
    path = source(tmp_path, [1.0, 2.0, 3.0], [1, 2, 3])
    window = times(BASE_US, BASE_US + 2 * HOUR_US)
    first = store.materialize("items", path, *window)
    assert (first.accepted, first.duplicate, first.outside) == (2, 0, 1)
    again = store.materialize("items", path, *window)
    assert (again.accepted, again.duplicate, again.outside) == (0, 2, 1)
    items = {"item": ["i0", "i1", "i2"]}
    assert store.get_online_features(["items:price"], items).to_dict() == {"price": [1.0, 2.0, None]}
    whole = store.materialize("items", path)
    assert whole.accepted == 3
    assert store.get_online_features(["items:price,stock"], items).to_dict() == {
        "price": [1.0, 2.0, 3.0],
        "stock": [0, 0, 0],
    }


def test_tables_without_a_name_are_not_taken_for_each_other(store: thermae.FeatureStore) -> None:
    store.apply(SHOP)
    for item in ("x", "y"):
        table = {"item": [item], "price": [1.0], "event_timestamp": times(BASE_US)}
        assert store.materialize("items", table, *times(BASE_US, NOW_US)).accepted == 1
        outside = {"item": [item], "price": [2.0]}
        assert store.materialize("items", outside, *times(BASE_US, NOW_US), at=BASE_US - 1).outside == 1
    assert store.get_online_features(["items:price"], {"item": ["x", "y"]}).to_dict() == {"price": [1.0, 1.0]}


def test_incremental_loads_go_on_where_they_stopped_and_miss_no_late_row(
    store: thermae.FeatureStore, tmp_path: Path
) -> None:
    store.apply(SHOP)
    path = source(tmp_path, [1.0, 2.0], [5, 6])
    assert store.materialize_incremental("items", path, source_name="items").accepted == 2
    path = source(tmp_path, [1.0, 2.0, 3.0], [5, 6, 1])
    assert store.materialize_incremental("items", path, source_name="items").accepted == 1
    assert store.materialize_incremental("items", path, source_name="items").accepted == 0
    assert store.get_online_features(["items:price"], {"item": ["i2"]}).to_dict() == {"price": [3.0]}


def test_a_push_under_a_name_is_recognised(shop: thermae.FeatureStore) -> None:
    table = {"item": ["x", "y"], "price": [1.0, 2.0]}
    assert shop.push("items", table, at=NOW_US, producer="batch 7").accepted == 2
    again = shop.push("items", table, at=NOW_US, producer="batch 7")
    assert (again.accepted, again.duplicate) == (0, 2)


def test_an_older_row_is_history_and_does_not_replace_a_newer_one(shop: thermae.FeatureStore) -> None:
    shop.push("items", {"item": ["a"], "price": [1.0]}, at=NOW_US - HOUR_US)
    assert shop.get_online_features(["items:price"], {"item": ["a"]}).to_dict() == {"price": [9.5]}
    spine = {"item": ["a"], "event_timestamp": times(NOW_US - HOUR_US)}
    assert shop.get_historical_features(spine, ["items:price"]).to_arrow().column("price").to_pylist() == [1.0]
