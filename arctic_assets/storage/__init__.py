"""Archive of raw files, DuckDB warehouse, Dagster's own storage."""
