"""`tleg inspect`."""
