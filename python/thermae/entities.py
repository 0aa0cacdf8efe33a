"""Entities as columns of join keys, the way the extension takes them: int64 arrays and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import InvalidRequestError
from .tables import to_arrow


def columns_of(entities: Any, wanted: Sequence[str]) -> dict[str, np.ndarray | list[Any]]:
    """Columns by name from a dictionary of columns, a list of rows, or a table of any kind.

    A table may have other columns than those ``wanted``; they are left out.
    """
    if entities is None:
        return {}
    if isinstance(entities, Mapping):
        return {name: _column(name, entities[name]) for name in entities}
    if isinstance(entities, Sequence) and not isinstance(entities, (str, bytes)):
        return _of_rows(entities)
    table = to_arrow(entities)
    names = [name for name in wanted if name in table.column_names]
    return {name: _column(name, table.column(name)) for name in names}


def _of_rows(rows: Sequence[Any]) -> dict[str, np.ndarray | list[Any]]:
    names: dict[str, None] = {}
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidRequestError(f"entity row {at} is a {type(row).__name__}, not a dictionary")
        names.update(dict.fromkeys(row))
    for at, row in enumerate(rows):
        for name in names:
            if name not in row:
                raise InvalidRequestError(f"entity row {at} has no {name!r}, which other rows have")
    return {name: [row[name] for row in rows] for name in names}


def _column(name: str, values: Any) -> np.ndarray | list[Any]:
    if isinstance(values, list):
        return values
    if isinstance(values, (str, bytes)):
        raise InvalidRequestError(f"column {name!r} is one value: give a list, [{values!r}]")
    if hasattr(values, "to_pylist"):
        kind = str(getattr(values, "type", ""))
        if kind.startswith(("int", "uint")) and values.null_count == 0:
            return _integers(name, values.to_numpy())
        return values.to_pylist()
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InvalidRequestError(f"column {name!r} has {values.ndim} dimensions, a column has one")
        if values.dtype.kind in "iu":
            return _integers(name, values)
        return values.tolist()
    return list(values)


def _integers(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint64 and len(values) and values.max() > np.iinfo(np.int64).max:
        row = int(np.argmax(values > np.iinfo(np.int64).max))
        raise InvalidRequestError(f"column {name!r}, row {row}: {values[row]} exceeds 64 signed bits")
    return np.ascontiguousarray(values, dtype=np.int64)
