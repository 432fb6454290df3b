"""Making your own labeller."""
