"""Training: episodes to samples, the training loop and open-loop validation."""
