"""A family in one go: for each device its depth, what must be trained for it, its export, verified and measured."""
