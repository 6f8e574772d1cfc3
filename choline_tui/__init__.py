"""choline: a terminal cockpit for training runs on rented GPUs."""

__version__ = "0.1.0"
