"""One target, or two, in a terminal: rows made when they are opened, and a thin screen."""
