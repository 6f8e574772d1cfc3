"""SSH: choline's key, connections, commands and files on a remote."""
