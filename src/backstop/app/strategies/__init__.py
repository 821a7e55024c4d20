"""Strategies that come with Backstop, as examples of how one is written."""
