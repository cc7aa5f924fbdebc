"""Money asked."""
