"""Writers for each export format; they know files, not Dagster."""
