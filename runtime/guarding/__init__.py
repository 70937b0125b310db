"""What `runtime.guard` is made of: words, patterns, a policy file, a classifier, help lines."""
