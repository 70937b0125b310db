"""A seeded generator of simple emotional dialogues: event schemas times slot fillers."""

VERSION = "1"
