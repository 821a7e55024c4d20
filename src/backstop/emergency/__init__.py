"""Takes an account flat with nothing else running: no guard, no hub, perhaps no sound record."""
