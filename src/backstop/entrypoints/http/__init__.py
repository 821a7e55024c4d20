"""The guard's HTTP interface; loaded only after the guard is armed."""
