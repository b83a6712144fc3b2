"""How a policy is moved. One module a method over one shared core; runs as its own process."""
