"""`tleg build`."""
