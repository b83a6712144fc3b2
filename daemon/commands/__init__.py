"""One file a command. A module here is imported only when its command is called."""
