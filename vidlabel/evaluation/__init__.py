"""How good a model's answers are: likelihoods, right answers, likeness to references, flags, and what a judge says."""
