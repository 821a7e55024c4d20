"""Bots in processes of their own: they speak to the protective gateway as if to the broker."""
