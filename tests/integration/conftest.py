"""What the tests with real hosts share: the package repository and the installer root of the lab's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.demo import roots_of
from lab.host import Roots
from lab.packages.repository import rpm_repository


@pytest.fixture(scope="session", autouse=True)
def authorities() -> Iterator[None]:
    """The world's authorities are where they always are: here it is looked at which files programs open."""
    hidden = os.environ.pop("SSL_CERT_FILE")
    yield
    os.environ["SSL_CERT_FILE"] = hidden


@pytest.fixture(scope="session")
def repository() -> Path:
    return rpm_repository(Cache.from_environment())


@pytest.fixture(scope="session")
def roots() -> Roots:
    return roots_of(Cache.from_environment())
