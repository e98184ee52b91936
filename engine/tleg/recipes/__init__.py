"""Recipes: what a training does, checked before it starts. Options, files, presets and the trainer share one definition."""
