"""The database engine: PostgreSQL, and a private server of it where DATABASE_URL names none."""
