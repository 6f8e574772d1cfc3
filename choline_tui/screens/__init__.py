"""The screens of the app. Layout, bindings and workers; what is true comes from ``services``."""
