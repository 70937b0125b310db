"""A seeded generator of simple emotional dialogues: events and moments times slot fillers."""

VERSION = "2"
