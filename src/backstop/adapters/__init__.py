"""Thin adapters: they translate, time out and name the failure; they never decide."""
