"""What `distill doctor` looks at: one file a kind of thing, each giving a list of checks."""
