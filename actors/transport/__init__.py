"""How frames go from process to process of a lane: pixels in shared memory, names by socket."""
