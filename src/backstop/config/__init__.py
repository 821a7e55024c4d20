"""Settings and credentials, shared by every process of Backstop."""
