"""Feast's feature views as Thermae's, and the store that they lie in."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.repo_config import RepoConfig

from ..errors import InvalidRequestError, RefusedError
from ..store import FeatureStore
from ._kinds import Kind, key_type

_stores: dict[tuple[str, str], FeatureStore] = {}
_lock = threading.Lock()


def store_of(config: RepoConfig, settings: Any) -> FeatureStore:
    """The store that a configuration names; the online and the offline store of one place share it."""
    from .. import connect, open

    if settings.path:
        path = Path(settings.path)
        path = path if path.is_absolute() or config.repo_path is None else Path(config.repo_path) / path
        place = ("path", os.path.realpath(path))
    else:
        place = ("address", settings.address)
    with _lock:
        store = _stores.get(place)
        if store is None:
            if place[0] == "path":
                store = open(place[1])
            else:
                store = connect(place[1], timeout_s=settings.timeout_s, pool_size=settings.pool_size)
            _stores[place] = store
        return store


def close_stores() -> None:
    """Closes what this process has open, so that another may open a directory."""
    with _lock:
        for store in _stores.values():
            store.close()
        _stores.clear()


@dataclass(frozen=True)
class Definition:
    """A feature view as it is declared."""

    project: str
    name: str
    join_keys: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, str], ...]
    ttl_us: int = 0
    history: str = "latest"
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    lifecycle: str = "active"

    def to_toml(self) -> str:
        """A definitions file."""
        text = functools.partial(json.dumps, ensure_ascii=False)
        lines = ["format = 1", f"project = {text(self.project)}"]
        # An entity a join key and type: whatever becomes of Feast's entities, these stay what they are.
        entities = {f"{name}_{kind}": (name, kind) for name, kind in self.join_keys}
        for entity, (name, kind) in entities.items():
            lines.append(f"[entities.{entity}]")
            lines.append(f"join_keys = [{{ name = {text(name)}, type = {text(kind)} }}]")
        features = ", ".join(f"{{ name = {text(name)}, type = {text(kind)} }}" for name, kind in self.features)
        tags = ", ".join(f"{text(name)} = {text(value)}" for name, value in sorted(self.tags.items()))
        lines += [
            f'[views."{self.name}@{self.version}"]',
            f"entities = {text(list(entities))}",
            f'ttl = "{self.ttl_us}us"',
            f'tiers = {{ history = "{self.history}" }}',
            f"description = {text(self.description)}",
            f"owner = {text(self.owner)}",
            f"tags = {{ {tags} }}",
            f'lifecycle = "{self.lifecycle}"',
            f"features = [{features}]",
        ]
        return "\n".join(lines) + "\n"


def definition(project: str, view: FeatureView) -> Definition:
    """What a view of Feast is here."""
    keys = [column for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    kinds = [Kind(feature) for feature in view.features]
    if not kinds:
        raise InvalidRequestError(f"the feature view {view.name!r} has no features")
    ttl = view.ttl
    return Definition(
        project=_name(project, "project"),
        name=_name(view.name, "feature view"),
        join_keys=tuple(
            (_name(column.name, "join key"), key_type(column.name, column.dtype.to_value_type()))
            for column in sorted(keys, key=lambda column: column.name)
        ),
        features=tuple((_name(kind.name, "feature"), kind.value_type) for kind in kinds),
        ttl_us=0 if ttl is None else max(0, round(ttl.total_seconds() * 1_000_000)),
        description=view.description or "",
        owner=getattr(view, "owner", "") or "",
        tags={str(name): str(value) for name, value in (view.tags or {}).items()},
    )


def apply(store: FeatureStore, wanted: Definition) -> None:
    """Defines a view. A change that stored rows could not be read through becomes a new version, without rows."""
    versions = known_versions(store, wanted.project, wanted.name)
    newest = max(versions, default=1)
    try:
        store.apply(replace(wanted, version=newest).to_toml())
    except RefusedError:
        if not versions:
            raise
        store.apply(replace(wanted, version=newest + 1).to_toml())


def retire(store: FeatureStore, project: str, name: str) -> None:
    """Ends every version of a view: none is read or written any more."""
    for version, stored in known_versions(store, project, name).items():
        keys = tuple((key["name"], key["type"]) for key in stored["join_keys"])
        features = tuple((feature["name"], feature["type"]) for feature in stored["features"])
        tiers = stored.get("tiers") or {}
        ended = Definition(
            project,
            name,
            keys,
            features,
            ttl_us=stored.get("ttl_us", 0),
            history=tiers.get("history", "full"),
            description=stored.get("description", ""),
            owner=stored.get("owner", ""),
            tags=stored.get("tags") or {},
            version=version,
            lifecycle="retired",
        )
        store.apply(ended.to_toml())


def known_versions(store: FeatureStore, project: str, name: str) -> dict[int, dict[str, Any]]:
    """The versions of a view that there are, with their definitions."""
    views = (view for view in store.views() if view["project"] == project and view["name"] == name)
    return {int(view.get("version", 1)): view for view in views}


def _name(name: str, what: str) -> str:
    if not name.isascii() or not name.replace("_", "a").isalnum() or len(name) > 128:
        raise InvalidRequestError(
            f"the {what} {name!r} cannot be stored under this name: names are 1 to 128 letters, digits or _"
        )
    return name
