"""Stand-alone checks for people who have only a document and a public key."""
