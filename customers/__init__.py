"""Of whom money is asked."""
