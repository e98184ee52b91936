"""`tleg verify`."""
