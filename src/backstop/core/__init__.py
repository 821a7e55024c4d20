"""The deterministic core: it decides and touches nothing: no clock, no I/O, no tasks, no logs."""
