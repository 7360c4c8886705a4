"""One module for each verb of the command line; no logic below the surface."""
