"""The captioning engine: clips and their questions in, answers out, every clip's prefix computed and stored once."""
