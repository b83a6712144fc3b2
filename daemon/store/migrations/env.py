"""How Alembic meets our database: on the connection and in the transaction of daemon.store.engine.migrate."""

from __future__ import annotations

from alembic import context

from daemon.store.tables import metadata

# render_as_batch: SQLite alters a table by copying it. transactional_ddl: our BEGIN IMMEDIATE makes SQLite's
# DDL transactional, so a migration that is killed leaves the former schema whole.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
