"""The Arctic Glacier Dataset as a Dagster asset graph."""

__version__ = "0.1.0"
