"""The workbench: a Textual application over the engine's headers, costs and runs."""
