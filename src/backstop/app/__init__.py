"""The application layer: the only one with tasks and queues."""
