"""`tleg preview`."""
