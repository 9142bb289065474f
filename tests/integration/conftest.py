"""What the tests with real hosts share: the package repository and the installer root of the lab's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cache import Cache
from lab.demo import roots_of
from lab.host import Roots
from lab.packages.repository import rpm_repository


@pytest.fixture(scope="session")
def repository() -> Path:
    return rpm_repository(Cache.from_environment())


@pytest.fixture(scope="session")
def roots() -> Roots:
    return roots_of(Cache.from_environment())
