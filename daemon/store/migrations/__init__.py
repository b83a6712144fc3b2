"""The one path from any earlier schema to the present one, for SQLite and PostgreSQL alike."""
