"""The market's endpoints by area. Each is a class whose ``routes`` stand in ``api.Api``."""
