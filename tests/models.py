"""Small real checkpoints for tests: a few hundred thousand random weights and a real tokenizer."""

from pathlib import Path

SENTENCES = [
    "I lost my job today and I do not know what to do.",
    "My sister passed her exam and I am so proud of her!",
    "That sounds hard. What happened next?",
    "Your dog ran away last night, and the house feels empty.",
    "I'm glad that you told me. Do you want to talk about it?",
] * 20


def tiny_checkpoint(folder: Path, *, hidden: int = 256, layers: int = 2, seed: int = 0) -> Path:
    """Write a Llama of under a million weights with its tokenizer and chat template."""
    from distill.learning.pretrain import new_llama
    from distill.learning.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(SENTENCES, vocab_size=512)
    student = new_llama(
        len(tokenizer),
        hidden,
        layers,
        hidden,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        seed=seed,
    )
    student.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
