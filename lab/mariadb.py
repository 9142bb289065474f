"""A real MariaDB server for tests and benchmarks: never root's, in a folder of its own, gone with the process."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pymysql
import sqlalchemy as sa

from avalanche.adapters import schema
from avalanche.adapters.database import Database

USER, PASSWORD = "avalanche", "se cret/@:%"
START_SECONDS = 60.0


class MariaDB:
    """A server that can be stopped, killed and started again; its databases stay."""

    def __init__(self) -> None:
        # Not below pytest's folder, which other users may not enter.
        self.folder = Path(tempfile.mkdtemp(prefix="avalanche-mariadb-"))
        self.socket = self.folder / "socket"
        self.port = _free_port()
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._clean: list[sa.URL] = []
        self._install()
        self.start()
        self.sql(
            f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'",
            f"CREATE USER {USER}@localhost IDENTIFIED BY '{PASSWORD}'",
        )

    def __repr__(self) -> str:
        return f"<MariaDB on {self.socket}>"

    def _install(self) -> None:
        # A folder for temporary tables too: a server that starts removes all it finds, its neighbours' as well.
        (self.folder / "tmp").mkdir()
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (self.folder, self.folder / "tmp"):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        command = [
            "mariadb-install-db", "--no-defaults", f"--datadir={self._data}", "--skip-test-db", "--force",
            "--auth-root-authentication-method=normal", "--innodb-log-file-size=8M", f"--tmpdir={self.folder}/tmp",
        ]  # fmt: skip
        log = self.folder / "install.log"
        with log.open("wb") as output:
            done = subprocess.run(
                _unprivileged(command), check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        assert done.returncode == 0, log.read_text()

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        command = [
            "mariadbd", "--no-defaults", f"--datadir={self._data}", f"--socket={self.socket}",
            f"--pid-file={self.folder}/pid", f"--tmpdir={self.folder}/tmp",
            "--bind-address=127.0.0.1", f"--port={self.port}",
            "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2", "--performance-schema=0",
            "--innodb-log-file-size=8M", "--skip-log-bin",
            # Tests survive kills of the server, not of the machine: nothing needs to be forced to the disk.
            "--innodb-flush-method=nosync", "--innodb-doublewrite=0", "--sync-frm=0", "--innodb-file-per-table=0",
            *options,
        ]  # fmt: skip
        # A server that held our output would hold whoever waits for its end.
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                _unprivileged(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.socket)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "server.log").read_text())
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, by default in good order, and wait for its end."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder)

    def sql(self, *statements: str) -> None:
        """Run statements as the server's root."""
        root = pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        with root, root.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def make_database(self) -> sa.URL:
        """Make an empty database; returns its address, over TCP, with the password."""
        name = f"avalanche_{next(self._numbers)}"
        self.sql(
            f"CREATE DATABASE {name}",
            f"GRANT ALL ON {name}.* TO {USER}@'%'",
            f"GRANT ALL ON {name}.* TO {USER}@localhost",
        )
        return self.url(name)

    def url(self, name: str) -> sa.URL:
        """The address of a database, over TCP, with the password."""
        return self.address(name, self.port)

    @staticmethod
    def address(name: str, port: int) -> sa.URL:
        """The address of a database of some server on this machine."""
        return sa.URL.create("mysql+pymysql", USER, PASSWORD, "127.0.0.1", port, name, query={"charset": "utf8mb4"})

    def borrow_database(self) -> sa.URL:
        """Take a database with tables that nobody has touched: making them anew would take a second."""
        if self._clean:
            return self._clean.pop()
        url = self.make_database()
        database = Database(url)
        database.migrate()
        database.close()
        return url

    def give_back(self, url: sa.URL) -> None:
        """Empty a borrowed database for the next."""
        assert url.database is not None
        tables = [table.name for table in schema.metadata.sorted_tables]
        self.sql(
            "SET foreign_key_checks = 0",
            *(f"DELETE FROM {url.database}.{name}" for name in tables),
            f"INSERT INTO {url.database}.av_revision (id, inventory, orders) VALUES (1, 1, 1)",
        )
        self._clean.append(url)


def _unprivileged(command: list[str]) -> list[str]:
    """Let a server never be root, and never outlive us."""
    user = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", "--pdeathsig=KILL", *user, *command]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
