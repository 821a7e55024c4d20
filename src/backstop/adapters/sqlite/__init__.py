"""The journal and the audit tables in one SQLite file."""
