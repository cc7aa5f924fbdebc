"""What happened, told outward."""
