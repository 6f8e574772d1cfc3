"""The market: Vast's HTTP API, paced and read, one rent one request."""
