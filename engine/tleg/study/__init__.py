"""A study: a grid of trainings that differ in named fields, and what came of it."""
