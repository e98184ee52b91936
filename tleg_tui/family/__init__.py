"""The screens of a family: its devices, and how far it is."""
