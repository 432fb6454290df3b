"""What the rows of a manifest ask for: our own plain ones, and those of published sets as they are published."""
