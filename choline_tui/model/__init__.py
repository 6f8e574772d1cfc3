"""What things are: pydantic models and pure functions. No clock, network or disk; time is an argument."""
