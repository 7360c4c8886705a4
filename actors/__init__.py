"""Plain classes that work on frames, one verb each. They know neither Ray nor the job's plan."""
