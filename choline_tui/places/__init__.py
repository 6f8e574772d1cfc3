"""Where runs execute. Each place is one module behind ``base``'s protocol."""
