"""What home and remote share. Standard library only, Python 3.8 and later.

Nothing here may import from the rest of the package: this folder is shipped to remotes inside the
supervisor's zipapp, together with ``remote/``.
"""
