"""Latency, measured: of exports and models at several depths, here or on a device that has no tleg."""
