"""Every change of an amount owed, append-only."""
