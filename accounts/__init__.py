"""Where money is asked."""
