"""Code, environment, data and results, to and from a remote; the supervisor put there and spoken to."""
