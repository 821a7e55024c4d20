"""The storm: guard, venue, network, disk and clock in one process, all decided by one seed."""
