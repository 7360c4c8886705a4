"""A face as a mesh: its canonical layout, warps onto it and back, and what is painted on it."""
