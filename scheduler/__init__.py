"""What a film is and what is to be done with it, pure: no pixels, no clock, no disk, no Ray."""
