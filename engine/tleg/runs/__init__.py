"""Run directories: what a detached training writes and every viewer reads. Standard library alone, no daemon, no socket."""
