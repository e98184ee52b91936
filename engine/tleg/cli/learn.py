"""`tleg learn`."""
