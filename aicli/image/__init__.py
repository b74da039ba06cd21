"""From a path, bytes or an array to upright RGB pixels, and what counts as an input."""
