"""One cycle: its stages, its state machine, and the process that does its heavy work."""
