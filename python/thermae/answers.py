"""The answer to an online read."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from . import _thermae

if TYPE_CHECKING:
    import pandas
    import polars

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_NO_TIME = np.iinfo(np.int64).min


class Status(enum.IntEnum):
    """What became of one value."""

    PRESENT = 0
    NULL_VALUE = 1
    NOT_FOUND = 2
    OUTSIDE_MAX_AGE = 3
    CORRUPT = 4
    UNAVAILABLE = 5


class OnlineAnswer:
    """Features of entities: as many rows as were asked for, in their order; columns in the order asked.

    Nothing is converted before it is asked for, and each form is made of the received blocks at once.
    """

    def __init__(self, core: _thermae.Answer, warnings: list[str] | None = None) -> None:
        self._core = core
        #: What the reader should know: that something read is deprecated.
        self.warnings = warnings or []

    def __len__(self) -> int:
        return self._core.rows

    def __repr__(self) -> str:
        return f"<OnlineAnswer of {len(self)} rows x {len(self._names)} columns: {', '.join(self._names)}>"

    @functools.cached_property
    def _names(self) -> list[str]:
        return self._core.names

    @functools.cached_property
    def _types(self) -> list[str]:
        return self._core.types

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self._names)

    @property
    def types(self) -> dict[str, str]:
        """Types of the columns, as definitions write them."""
        return dict(zip(self._names, self._types))

    @property
    def read_time(self) -> dt.datetime:
        """The time by which TTL was judged."""
        return _EPOCH + dt.timedelta(microseconds=self._core.read_time)

    def to_dict(self) -> dict[str, list[Any]]:
        """Lists of Python's values, ``None`` for null; times are UTC datetimes, uuids ``uuid.UUID``."""
        return {name: self._list(at) for at, name in enumerate(self._names)}

    def to_numpy(self) -> dict[str, np.ndarray]:
        """An array a column.

        Float columns and vectors have NaN for null, times NaT. Other numbers are a masked array where a value is null:
        an int64 never becomes a float. Texts, bytes, uuids, JSON and lists are arrays of objects.
        """
        return {name: self._array(at) for at, name in enumerate(self._names)}

    def to_arrow(self) -> pa.Table:
        """An Arrow table, of the types that training reads answer in."""
        return pa.Table.from_batches([self._core.arrow()])

    def to_pandas(self, **options: Any) -> pandas.DataFrame:
        """A pandas data frame; options go to ``pyarrow.Table.to_pandas``."""
        return self.to_arrow().to_pandas(**options)

    def to_polars(self) -> polars.DataFrame:
        """A Polars data frame."""
        import polars

        frame = polars.from_arrow(self.to_arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def statuses(self) -> dict[str, np.ndarray]:
        """What became of each value: arrays of ``uint8`` by :class:`Status`."""
        return {name: self._core.statuses(at) for at, name in enumerate(self._names)}

    def event_times(self) -> dict[str, np.ndarray]:
        """When each value was true: arrays of ``datetime64[us]``, NaT where there is no row."""
        times = enumerate(self._names)
        return {name: self._core.event_times(at).view("datetime64[us]") for at, name in times}

    def _list(self, at: int) -> list[Any]:
        values = self._core.values(at)
        kind = self._types[at]
        if kind == "timestamp":
            return [None if value is None else _datetime(value) for value in values]
        if kind == "uuid":
            return [None if value is None else uuid.UUID(bytes=value) for value in values]
        if kind == "list<timestamp>":
            return [None if value is None else [_datetime(one) for one in value] for value in values]
        if kind == "list<uuid>":
            return [None if value is None else [uuid.UUID(bytes=one) for one in value] for value in values]
        return values

    def _array(self, at: int) -> np.ndarray:
        values = self._core.array(at)
        if values is None:
            objects = np.empty(len(self), dtype=object)
            for row, value in enumerate(self._list(at)):
                objects[row] = value
            return objects
        kind = self._types[at]
        if kind.startswith(("float", "vector")):
            return values
        nulls = self._core.nulls(at)
        if kind == "timestamp":
            if nulls is not None:
                values[nulls] = _NO_TIME
            return values.view("datetime64[us]")
        return values if nulls is None else np.ma.MaskedArray(values, nulls)


def _datetime(time_us: int) -> dt.datetime | np.datetime64:
    try:
        return _EPOCH + dt.timedelta(microseconds=time_us)
    except OverflowError:
        return np.datetime64(time_us, "us")
