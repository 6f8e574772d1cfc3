"""Widgets: attributes in, messages out. They know nothing of runs, offers or services."""
