"""Frozen values in the trade's own words. Imports nothing of the package but errors."""
