"""The one process that acts: it alone talks to the market and to remotes."""
