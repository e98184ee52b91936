"""`tleg import`."""
