"""Every option of a job, once: its flag, its variable, its place in a settings file, its range."""
