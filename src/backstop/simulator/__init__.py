"""A ProjectX Gateway on loopback: an exchange, accounts, REST, both hubs, and faults on demand."""
