"""Pixels and geometry, pure: arrays in, arrays out. Knows no film, no job and no process."""
