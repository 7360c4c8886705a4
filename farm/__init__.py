"""What a person touches: the command line, settings, progress and reports."""
