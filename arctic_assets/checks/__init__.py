"""Asset checks: those built from `tables`, and those that compare variables."""
