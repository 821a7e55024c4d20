"""Entry points parse, call and print."""
