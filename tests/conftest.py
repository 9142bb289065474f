"""What all tests share: how hypothesis searches, and databases of both engines.

The agent's tests run under Pythons that have no SQLAlchemy, so databases are imported when a test asks for one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from avalanche.adapters.database import Database
    from avalanche.adapters.engine import Where
    from lab.mariadb import MariaDB
    from tests.smalldisk import SmallDisk

# Here nobody trusts the world's authorities, and every context and every program would read them for a while.
os.environ["SSL_CERT_FILE"] = os.devnull

# Timing never decides a test: the machine may be busy. The same examples in every run: a red test is the change's.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
# How many examples a property tries. One that costs much tries a share of that, and so takes part in the search.
settings.register_profile("test", PATIENT, max_examples=50)
settings.register_profile("floor", PATIENT, max_examples=20)  # where only Python is another
settings.register_profile("search", PATIENT, derandomize=False, max_examples=1000)  # make test-all
settings.load_profile("test")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server of our own."""
    from lab.mariadb import MariaDB

    server = MariaDB()
    yield server
    server.close()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with tables that nobody has touched, to be copied."""
    from avalanche.adapters.database import Database

    path = tmp_path_factory.mktemp("sqlite") / "avalanche.db"
    database = Database(path)
    database.migrate()
    database.close()
    return path


@pytest.fixture(params=["sqlite", "mariadb"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Where]:
    """A database with tables and nothing in them: every test that asks runs on both engines."""
    if request.param == "sqlite":
        yield shutil.copy(request.getfixturevalue("empty_sqlite"), tmp_path / "avalanche.db")
        return
    server: MariaDB = request.getfixturevalue("mariadb")
    url = server.borrow_database()
    yield url
    server.give_back(url)


@pytest.fixture(params=["sqlite", "mariadb"])
def nowhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Where]:
    """Where a database without tables is, on both engines."""
    if request.param == "sqlite":
        yield tmp_path / "avalanche.db"
        return
    server: MariaDB = request.getfixturevalue("mariadb")
    url = server.make_database()
    yield url
    server.sql(f"DROP DATABASE {url.database}")


@pytest.fixture
def database(where: Where) -> Iterator[Database]:
    """A database with the appliance compute, its membership Compute, and nothing else."""
    from avalanche.adapters.database import Database
    from avalanche.cluster import Appliance

    found = Database(where)
    with found.transaction() as transaction:
        transaction.add_appliance(Appliance("compute", "compute"))
    yield found
    found.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of three megabytes."""
    from tests.smalldisk import SmallDisk

    found = SmallDisk(tmp_path / "disk", 3)
    yield found
    found.close()
