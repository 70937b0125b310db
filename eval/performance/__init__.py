"""What `distill eval latency` is made of: a client with a clock, prompts of a length, figures."""
