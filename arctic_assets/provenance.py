"""What is said of a provider's file, from its product down to the bytes: the words that sources and storage share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SYNTHETIC = "SYNTHETIC"
"""The word that every file of the sample carries, in its own format's way."""


@dataclass(frozen=True)
class Account:
    """What a provider wants to know of us before it hands out files.

    Attributes:
        name: the account in the provider's words.
        register: page where one gets it.
        key: where the key goes, in words.
        is_set: looks whether a key is in place, without reading it into anything of ours.
    """

    name: str
    register: str
    key: str
    is_set: Callable[[], bool]


@dataclass(frozen=True)
class Product:
    """One provider's product: what must be said of every number that is made from it.

    Attributes:
        provider: folder name in a mirror and in the archive.
        name: full product name.
        version: version or release; a release that is part of the file name may be refined per remote.
        licence: SPDX id or the provider's own wording; says so when it is not confirmed.
        citation: how to cite it.
        doi: DOI without a resolver.
        homepage: page for people.
        cadence: how often something new comes.
        latency: how long after the fact.
        account: what live access needs, or None.
    """

    provider: str
    name: str
    version: str
    licence: str
    citation: str
    doi: str
    homepage: str
    cadence: str
    latency: str
    account: Account | None = None


@dataclass(frozen=True)
class Verified:
    """What a file that was opened and found good holds.

    Attributes:
        is_synthetic: the file says that it is of the SYNTHETIC sample.
        content: JSON facts by which the file is found later (months, box, variables, ids, release...).
        version: the version the file itself states, when it does.
    """

    is_synthetic: bool
    content: dict[str, Any] = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True)
class Delivery:
    """A file arrived: where from, and the provider's own marks of its version."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    expected_bytes: int | None = None
    expected_sha256: str | None = None


@dataclass(frozen=True)
class SourceObject:
    """One archived file: a row of `provenance.source_object`, and what is needed to find and re-check it."""

    source_id: str
    provider: str
    product: str
    version: str
    url: str
    sha256: str
    bytes: int
    retrieved_at: str
    licence: str
    citation: str
    path: str
    is_synthetic: bool
    etag: str | None = None
    last_modified: str | None = None
    supersedes: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
