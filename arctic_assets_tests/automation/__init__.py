"""Tests of what keeps the platform up to date."""
