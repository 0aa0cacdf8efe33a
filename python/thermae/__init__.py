"""Thermae: an online feature store for machine learning.

>>> import thermae
>>> store = thermae.open("features")                 # embedded, or thermae.connect("127.0.0.1:7400")
>>> store.apply("features.toml")                     # doctest: +SKIP
>>> store.get_online_features(["weather_by_origin:temp"], {"origin": ["JFK"]}).to_dict()  # doctest: +SKIP
"""

from __future__ import annotations

import os

from . import _thermae
from ._thermae import __version__
from .answers import OnlineAnswer, Status
from .errors import (
    AccessError,
    ConflictError,
    ConnectionFailedError,
    InDoubtError,
    InvalidRequestError,
    InvalidRowsError,
    MappedReadsError,
    NotAppliedError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    RequestTimeoutError,
    StoreError,
    ThermaeError,
)
from .store import FeatureStore, TrainingData, WriteReport

__all__ = [
    "AccessError",
    "ConflictError",
    "ConnectionFailedError",
    "FeatureStore",
    "InDoubtError",
    "InvalidRequestError",
    "InvalidRowsError",
    "MappedReadsError",
    "NotAppliedError",
    "NotFoundError",
    "OnlineAnswer",
    "OverloadedError",
    "RefusedError",
    "RequestTimeoutError",
    "Status",
    "StoreError",
    "ThermaeError",
    "TrainingData",
    "WriteReport",
    "__version__",
    "connect",
    "open",
]


def connect(
    address: str = "127.0.0.1:7400",
    *,
    project: str | None = None,
    pool_size: int = 1,
    spin: bool = False,
    mapped: bool = False,
    timeout_s: float = 10.0,
    connect_timeout_s: float = 2.0,
) -> FeatureStore:
    """A store over the wire: ``host:port`` or ``unix:/path``.

    ``project`` is meant where a name says none. ``spin`` polls for answers: lowest latency, one core kept busy while a
    call waits. ``mapped`` reads the server's tables in this process where both are on one machine (needs ``unix:``);
    what they lack is asked of the server. ``pool_size`` connections are used in turn.
    """
    core = _thermae.Remote(
        address,
        project=project,
        pool_size=pool_size,
        spin=spin,
        timeout_s=timeout_s,
        connect_timeout_s=connect_timeout_s,
        mapped=mapped,
    )
    return FeatureStore(core, address, reads_here=mapped)


def open(  # noqa: A001 - a store is opened
    directory: str | os.PathLike[str],
    *,
    project: str | None = None,
    memory_bytes: int = 0,
    cores: int = 0,
) -> FeatureStore:
    """A store in this process, over a directory that is created when it is not there; one process at a time.

    ``memory_bytes`` for all that it holds (1 GiB by default), ``cores`` its threads (1 by default).
    """
    core = _thermae.Embedded(directory, project=project, memory_bytes=memory_bytes, cores=cores)
    return FeatureStore(core, os.fspath(directory), reads_here=True)
