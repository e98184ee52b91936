"""One run, live."""
