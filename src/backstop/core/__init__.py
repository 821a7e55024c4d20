"""The deterministic core: it decides and touches nothing (no clock, no I/O, no asyncio, no logging)."""
