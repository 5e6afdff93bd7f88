"""`make demo`: everything on this machine, and some forty made-up orders played through it. Plays no part in
production."""
