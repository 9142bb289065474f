"""The database's history, for alembic. A change of schema.py needs a new file in ``versions``; a test compares them."""
