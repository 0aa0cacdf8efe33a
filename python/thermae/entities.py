"""Entities as columns, the way the extension takes them: join keys as int64 arrays and lists, the rest as Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import InvalidRequestError
from .tables import column as arrow_column
from .tables import to_arrow

_Column = np.ndarray | list[Any]


def columns_of(entities: Any, plan: Any) -> dict[str, _Column | pa.Array]:
    """Columns by name from a dictionary of columns, a list of rows, or a table of any kind.

    What features are computed from comes as Arrow. A table may have other columns than those that the plan needs; they
    are left out.
    """
    if entities is None:
        return {}
    brought = plan.request
    if isinstance(entities, Mapping):
        columns: Mapping[str, Any] = entities
    elif isinstance(entities, Sequence) and not isinstance(entities, (str, bytes)):
        columns = _of_rows(entities)
    else:
        table = to_arrow(entities)
        needed = [*plan.join_keys, *brought]
        columns = {name: table.column(name) for name in needed if name in table.column_names}
    return {
        name: arrow_column(name, values) if name in brought else _column(name, values)
        for name, values in columns.items()
    }


def _of_rows(rows: Sequence[Any]) -> dict[str, list[Any]]:
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
