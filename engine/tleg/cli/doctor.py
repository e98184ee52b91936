"""`tleg doctor`."""
