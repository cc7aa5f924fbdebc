"""What staff see across entities: the way around, the staff themselves."""
