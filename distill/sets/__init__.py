"""Training sets: rules, formats, the card, and the leak check."""
