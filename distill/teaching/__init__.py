"""What teach, annotate and improve share: prompts, options, steps, answers, the data folder."""
