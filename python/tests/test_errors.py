"""Bad input: an error that names column and row, and nothing written in part."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import NOW_US, SHOP, Server, times

import thermae


def rows(**changed: object) -> dict[str, object]:
    """Three good rows, but for what is changed; a column given as ... is missing."""
    good: dict[str, object] = {
        "user": [7, 8, 9],
        "clicks": [1, 2, 3],
        "score": [0.5, 0.25, 0.125],
        "city": ["a", "b", "c"],
        "event_timestamp": times(NOW_US, NOW_US, NOW_US),
    }
    return {name: value for name, value in (good | changed).items() if value is not ...}


NAIVE = dt.datetime(2013, 1, 1)
ZONED = dt.datetime(2013, 1, 1, tzinfo=dt.timezone.utc)

BAD: list[tuple[str, dict[str, object], tuple[str, ...]]] = [
    ("a text among numbers", rows(clicks=[1, "two", 3]), ("clicks", "row 1")),
    ("a column of another type", rows(clicks=["1", "2", "3"]), ("clicks", "row 0", "int64")),
    ("a float that is no integer", rows(clicks=[1.0, 2.5, 3.0]), ("clicks", "int64")),
    ("no key column", rows(user=...), ("user", "clicks")),
    ("a NaN key", rows(user=np.array([7.0, np.nan, 9.0])), ("user", "row 0")),
    ("a null key", rows(user=[7, None, 9]), ("user", "row 1", "null")),
    ("no feature column", rows(city=...), ("city",)),
    ("no time", rows(event_timestamp=...), ("event_timestamp",)),
    ("a null time", rows(event_timestamp=[*times(NOW_US), None, *times(NOW_US)]), ("event time", "row 1")),
    ("zones are mixed", rows(event_timestamp=[NAIVE, ZONED, NAIVE]), ("event_timestamp", "rows 0 and 1")),
    ("a text that is no time", rows(event_timestamp=["2013-01-01", "x", "2013"]), ("event_timestamp", "row 1")),
    ("columns of two lengths", rows(city=["a"]), ("city", "1 rows")),
    ("a float64 that is no float32", rows(score=[0.1, 0.5, 0.5]), ("score", "row 0", "float32")),
    ("an integer beyond 64 bits", rows(clicks=[1, 2**70, 3]), ("clicks", "row 1")),
]


@pytest.mark.parametrize(("table", "words"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_bad_table_is_refused_whole(
    shop: thermae.FeatureStore, table: dict[str, object], words: tuple[str, ...]
) -> None:
    with pytest.raises(thermae.InvalidRequestError) as caught:
        shop.push("activity", table)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert shop.get_online_features(["activity:clicks"], {"user": [7, 8, 9]}).to_dict() == {"clicks": [None] * 3}


def test_rows_that_do_not_fit_are_told_one_by_one(shop: thermae.FeatureStore) -> None:
    with pytest.raises(thermae.InvalidRowsError) as caught:
        shop.push("activity", rows(user=[None, 8, None]))
    assert [row for row, _ in caught.value.rows] == [0, 2]
    assert "2 of 3 rows" in str(caught.value)


def test_naive_times_are_utc_and_zones_are_converted(shop: thermae.FeatureStore) -> None:
    local = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    for time in (dt.datetime(2026, 1, 1, 10), local, "2026-01-01T10:00:00Z", np.datetime64("2026-01-01T10:00:00")):
        shop.push("items", {"item": ["z"], "price": [1.0], "event_timestamp": [time]})
        found = shop.get_online_features(["items:price"], {"item": ["z"]}).event_times()["price"]
        assert found.tolist() == [dt.datetime(2026, 1, 1, 10)], time


def test_two_columns_of_one_name_are_refused(shop: thermae.FeatureStore) -> None:
    import pandas as pd
    import pyarrow as pa

    frame = pd.DataFrame(rows())
    twice = pd.concat([frame, frame[["clicks"]]], axis=1)
    for table in (twice, pa.Table.from_arrays([pa.array([1])] * 2, names=["clicks", "clicks"])):
        with pytest.raises(thermae.InvalidRequestError, match="two columns 'clicks'"):
            shop.push("activity", table)


def test_an_empty_table_writes_nothing(shop: thermae.FeatureStore) -> None:
    import pandas as pd

    assert shop.push("activity", pd.DataFrame(rows()).iloc[:0]).rows == 0
    with pytest.raises(thermae.InvalidRequestError):
        shop.push("activity", {})


BAD_ENTITIES: list[tuple[object, tuple[str, ...]]] = [
    ({}, ("user",)),
    ({"item": [1]}, ("user", "item")),
    ({"user": [1, None]}, ("user", "row 1", "null")),
    ({"user": [1, float("nan")]}, ("user", "row 1", "NaN")),
    ({"user": np.array([1.5])}, ("user", "row 0", "float")),
    ({"user": [1, True]}, ("user", "row 1", "bool")),
    ({"user": ["x"]}, ("user", "row 0")),
    ({"user": [2**63]}, ("user", "row 0")),
    ({"user": np.array([2**63], dtype=np.uint64)}, ("user", "row 0")),
    ({"user": [1], "item": ["a", "b"]}, ("item", "2 rows", "1")),
    ({"user": "1"}, ("user", "list")),
    ([{"user": 1}, {}], ("row 1", "user")),
    (7, ("int", "table")),
]


@pytest.mark.parametrize(("entities", "words"), BAD_ENTITIES, ids=[str(bad[0])[:40] for bad in BAD_ENTITIES])
def test_bad_entities_are_refused(shop: thermae.FeatureStore, entities: object, words: tuple[str, ...]) -> None:
    with pytest.raises(thermae.InvalidRequestError) as caught:
        shop.get_online_features(["activity:clicks"], entities)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_names_that_are_not_there_are_told(shop: thermae.FeatureStore) -> None:
    keys = {"user": [1]}
    for features in (["nothing:x"], ["activity:nothing"], "no_service", ["activity@9:clicks"]):
        with pytest.raises(thermae.NotFoundError):
            shop.get_online_features(features, keys)
    with pytest.raises(LookupError):
        shop.push("nothing", rows())
    for features in (["a b:c"], [], ["activity:clicks", "items:price", "activity:clicks"]):
        with pytest.raises(thermae.InvalidRequestError):
            shop.get_online_features(features, {"user": [1], "item": ["a"]})


def test_definitions_are_refused_with_their_reason(shop: thermae.FeatureStore) -> None:
    with pytest.raises(thermae.RefusedError, match="clicks"):
        shop.apply(SHOP.replace('name = "clicks", type = "int64"', 'name = "clicks", type = "string"'))
    with pytest.raises(thermae.InvalidRequestError, match="tll"):
        shop.apply(SHOP.replace("ttl", "tll"))
    planned = shop.apply(SHOP.replace('ttl = "1h"', 'ttl = "2h"'), dry_run=True)
    assert any("ttl" in line for change in planned["changes"] for line in change["lines"])


def test_a_server_that_is_not_there_is_a_connection_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        thermae.connect(f"unix:{tmp_path}/none")
    with pytest.raises(ValueError):
        thermae.connect("nowhere")


def test_a_server_that_goes_is_a_connection_error_and_comes_back_by_itself(
    start_server: Callable[[], Server],
) -> None:
    server = start_server()
    store = thermae.connect(server.address, timeout_s=2.0)
    store.apply(SHOP)
    store.get_online_features(["items:price"], {"item": ["a"]})
    server.stop()
    with pytest.raises((ConnectionError, TimeoutError)):
        store.get_online_features(["items:price"], {"item": ["a"]})


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = thermae.open(tmp_path / "data", memory_bytes=64 << 20)
    store.close()
    with pytest.raises(thermae.InvalidRequestError, match="closed"):
        store.views()
    with thermae.open(tmp_path / "data", memory_bytes=64 << 20), pytest.raises(thermae.StoreError, match="open"):
        thermae.open(tmp_path / "data", memory_bytes=64 << 20)


def test_a_time_in_the_future_is_not_applied(shop: thermae.FeatureStore) -> None:
    with pytest.raises(thermae.NotAppliedError, match="future"):
        shop.push("items", {"item": ["a"], "price": [1.0]}, at=NOW_US + 86_400_000_000)
