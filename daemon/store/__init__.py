"""What the daemon remembers: one database, SQLite embedded or PostgreSQL by URL, one migration path."""
