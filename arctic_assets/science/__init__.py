"""Pure functions on arrays, frames and geometries. Nothing here reads files or knows Dagster."""
