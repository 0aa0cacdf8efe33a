"""Nearest vectors, exactly: a pass over the newest rows of a view."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from feast.feature_view import FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import RepoConfig

from ..errors import InvalidRequestError
from ..store import FeatureStore
from ._kinds import key_proto

Document = tuple[datetime | None, EntityKeyProto | None, dict[str, ValueProto] | None]
#: Of entities and features: their rows as Feast's values.
ReadRows = Callable[[list[EntityKeyProto], list[str]], list[tuple[datetime | None, dict[str, ValueProto] | None]]]

#: Entities that are read together.
_BATCH_ENTITIES = 8_192


def nearest(
    store: FeatureStore,
    config: RepoConfig,
    table: FeatureView,
    features: list[str],
    embedding: list[float],
    top_k: int,
    metric: str | None,
    read_rows: ReadRows,
) -> list[Document]:
    """The ``top_k`` entities whose vectors are nearest, with their ``distance``, in the order of their keys.

    Feast 0.67 pairs the rows that it is given with the entities in the order of their keys: in any other order it
    would show features beside another entity's key.
    """
    vector = _vector_field(table, features)
    name = f"{config.project}/{table.name}"
    keys = store.entities(name)
    entities = len(next(iter(keys.values()), []))
    found: list[tuple[float, int]] = []
    query = np.asarray(embedding, dtype=np.float64)
    for begin in range(0, entities, _BATCH_ENTITIES):
        batch = {key: values[begin : begin + _BATCH_ENTITIES] for key, values in keys.items()}
        answer = store.get_online_features([f"{name}:{vector.name}"], batch)
        vectors = _matrix(answer.to_numpy()[vector.name], len(query), vector.name)
        distances = _distances(vectors, query, metric or vector.vector_search_metric or "L2")
        there = np.flatnonzero(~np.isnan(distances))
        found += [(float(distances[row]), begin + int(row)) for row in there]
        found = sorted(found)[:top_k]
    if not found:
        return []
    found.sort(key=lambda one: tuple(column[one[1]] for column in keys.values()))
    types = {column.name: column.dtype.to_value_type() for column in table.entity_columns}
    protos = []
    for _, row in found:
        key_values = [key_proto(column[row], types[key]) for key, column in keys.items()]
        protos.append(EntityKeyProto(join_keys=list(keys), entity_values=key_values))
    documents: list[Document] = []
    for (distance, _), proto, (time, values) in zip(found, protos, read_rows(protos, features)):
        documents.append((time, proto, {**(values or {}), "distance": ValueProto(float_val=distance)}))
    return documents


def _vector_field(table: FeatureView, features: list[str]) -> Any:
    found = [field for field in table.features if field.vector_index and field.name in features]
    found = found or [field for field in table.features if field.vector_index]
    if not found:
        raise InvalidRequestError(f"the feature view {table.name!r} has no feature with vector_index=True")
    return found[0]


def _matrix(vectors: np.ndarray, length: int, name: str) -> np.ndarray:
    """Vectors as rows, NaN where there is none or one of another length."""
    if vectors.ndim == 2:
        if vectors.shape[1] != length:
            raise InvalidRequestError(
                f"the embedding has {length} numbers, vectors of {name!r} have {vectors.shape[1]}"
            )
        return vectors
    rows = np.full((len(vectors), length), np.nan, dtype=np.float32)
    for row, vector in enumerate(vectors):
        if vector is not None and len(vector) == length:
            rows[row] = vector
    return rows


def _distances(vectors: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    rows = vectors.astype(np.float64)
    if metric.upper() in ("L2", "EUCLIDEAN"):
        return np.sqrt(((rows - query) ** 2).sum(axis=1))
    if metric.upper() in ("L1", "MANHATTAN"):
        return np.abs(rows - query).sum(axis=1)
    if metric.upper() in ("IP", "INNER_PRODUCT", "DOT"):
        return -(rows @ query)
    if metric.upper() == "COSINE":
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1.0 - (rows @ query) / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))
    raise InvalidRequestError(f"{metric!r} is no distance: L2, L1, IP or COSINE")
