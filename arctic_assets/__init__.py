"""The Arctic Glacier Dataset as a Dagster asset graph."""
