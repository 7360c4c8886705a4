"""How frames get from one process of a lane to the next without being copied."""
