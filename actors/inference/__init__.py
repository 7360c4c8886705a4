"""Runtimes that run a network behind one narrow protocol."""
