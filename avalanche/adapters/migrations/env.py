"""What alembic runs: it is always given an open connection by adapters/database.py."""

from __future__ import annotations

from alembic import context

from avalanche.adapters.schema import metadata

# render_as_batch: SQLite cannot alter most of a table in place, so alembic copies it; MariaDB takes the same script.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
