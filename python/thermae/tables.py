"""Tables of any kind as Arrow, with errors that name column and row."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import InvalidRequestError, InvalidRowsError

UTC_US = pa.timestamp("us", tz="UTC")


def to_arrow(data: Any) -> pa.Table:
    """A pandas or Polars data frame, an Arrow table, batch or stream, a dictionary of columns, or a list of rows."""
    if isinstance(data, pa.Table):
        table = data
    elif _is_pandas(data):
        table = _from_pandas(data)
    elif isinstance(data, Mapping):
        table = _from_columns({name: data[name] for name in data})
    elif isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        table = _from_rows(data)
    elif hasattr(data, "__arrow_c_stream__"):
        table = pa.table(data)
    elif hasattr(data, "__arrow_c_array__"):
        table = pa.Table.from_batches([pa.record_batch(data)])
    else:
        raise InvalidRequestError(
            f"a {type(data).__name__} is no table: give a data frame, an Arrow table, a dictionary of columns or a "
            "list of dictionaries"
        )
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidRequestError(f"the table has two columns {twice[0]!r}")
    return table


def times_in_utc(table: pa.Table, column: str) -> pa.Table:
    """The same table with one column as UTC microseconds: a naive time is UTC, a zone is converted."""
    at = table.schema.get_field_index(column)
    if at < 0:
        there = ", ".join(table.column_names) or "none"
        raise InvalidRequestError(f"the table has no column {column!r}; there are: {there}")
    values = table.column(at)
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        try:
            return table.set_column(at, column, values.cast(UTC_US))
        except pa.ArrowInvalid as error:
            raise _first_bad(values, UTC_US, column) or InvalidRequestError(f"column {column!r}: {error}") from error
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return table.set_column(at, column, _parsed(values, column))
    raise InvalidRequestError(
        f"column {column!r} is {kind}, which is no time: give timestamps, dates or texts as 2013-07-01T05:00:00Z"
    )


def column(name: str, values: Any, kind: pa.DataType | None = None) -> pa.Array:
    """A column as Arrow, of a type if one is wanted."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array) and kind is None:
        return values
    _refuse_mixed_zones(name, values)
    try:
        return pa.array(values, kind, from_pandas=_is_pandas(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError) as error:
        raise _first_bad(values, kind, name) or InvalidRowsError(f"column {name!r}: {error}") from error


def _is_pandas(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas" and "pandas" in sys.modules


def _from_pandas(frame: Any) -> pa.Table:
    frame = frame if hasattr(frame, "columns") else frame.to_frame()
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidRequestError(f"the table has two columns {twice[0]!r}")
    columns = [column(name, frame.iloc[:, at]) for at, name in enumerate(names)]
    return pa.Table.from_arrays(columns, names=names)


def _from_columns(columns: Mapping[str, Any]) -> pa.Table:
    arrays = {str(name): column(str(name), values) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        (first, rows), *others = lengths.items()
        name, found = next((name, found) for name, found in others if found != rows)
        raise InvalidRequestError(f"column {name!r} has {found} rows, column {first!r} has {rows}")
    return pa.table(arrays)


def _from_rows(rows: Sequence[Any]) -> pa.Table:
    names: dict[str, None] = {}
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidRequestError(f"row {at} is a {type(row).__name__}, not a dictionary")
        names.update(dict.fromkeys(row))
    return _from_columns({name: [row.get(name) for row in rows] for name in names})


def _refuse_mixed_zones(name: str, values: Any) -> None:
    """A column where some times have a zone and some have none means nothing."""
    dtype = getattr(values, "dtype", None)
    if isinstance(values, pa.Array) or (dtype is not None and str(dtype) != "object"):
        return
    first: tuple[int, bool] | None = None
    for row, value in enumerate(values):
        # NaT is a datetime, too, and unequal to itself.
        if not isinstance(value, dt.datetime) or value != value:
            continue
        is_naive = value.tzinfo is None
        if first is None:
            first = (row, is_naive)
        elif first[1] != is_naive:
            naive, zoned = (first[0], row) if first[1] else (row, first[0])
            raise InvalidRowsError(
                f"column {name!r} mixes times without and with a time zone (rows {naive} and {zoned}): give all of "
                "them one"
            )


def _first_bad(values: Any, kind: pa.DataType | None, name: str) -> InvalidRowsError | None:
    """The first value that is not of the type, named."""
    if kind is None:
        kind = next((_kind_of(value) for value in values if value is not None), None)
    for row, value in enumerate(values):
        try:
            pa.scalar(value.as_py() if isinstance(value, pa.Scalar) else value, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError) as error:
            found = InvalidRowsError(f"column {name!r}, row {row}: {error}")
            found.rows = [(row, str(error))]
            return found
    return None


def _kind_of(value: Any) -> pa.DataType | None:
    try:
        return pa.scalar(value).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _parsed(values: pa.ChunkedArray, name: str) -> pa.Array:
    parsed: list[dt.datetime | None] = []
    for row, text in enumerate(values.to_pylist()):
        if text is None:
            parsed.append(None)
            continue
        try:
            time = dt.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        except ValueError as error:
            raise InvalidRowsError(f"column {name!r}, row {row}: {text!r} is no time") from error
        parsed.append(time if time.tzinfo else time.replace(tzinfo=dt.timezone.utc))
    return pa.array(parsed, UTC_US)


def time_us(time: Any) -> int:
    """A time as microseconds UTC: a ``datetime``, a numpy or pandas time, a text, or the number itself."""
    if isinstance(time, (int, np.integer)) and not isinstance(time, bool):
        return int(time)
    if isinstance(time, str):
        return int(_parsed(pa.chunked_array([[time]]), "time").cast(pa.int64())[0].as_py())
    if isinstance(time, np.datetime64):
        return int(time.astype("datetime64[us]").astype(np.int64))
    if isinstance(time, dt.datetime):
        aware = time if time.tzinfo else time.replace(tzinfo=dt.timezone.utc)
        return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) // dt.timedelta(microseconds=1)
    if isinstance(time, dt.date):
        return time_us(dt.datetime(time.year, time.month, time.day))
    raise InvalidRequestError(f"{time!r} is no time")
