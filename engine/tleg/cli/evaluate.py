"""`tleg evaluate`."""
