"""Small real stand-ins for what the project talks to."""
