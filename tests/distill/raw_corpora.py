"""Tiny raw files in the layouts of the published corpora; every sentence is made up here."""

import csv
import json
from pathlib import Path

PLACES = ["bakery", "harbour", "library", "station", "garden", "cinema", "museum", "market"]
RESPONDERS = ("human", "chatgpt_empathy", "llama_empathy", "gemini_empathy", "mixtral_empathy")
MITI_RESPONDERS = ("human", "chatgpt", "chatgpt_empathy")


def write_lines(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def story(number: int) -> str:
    """One utterance, unlike every other: numbers stand for the facts that people tell."""
    place = PLACES[number % len(PLACES)]
    return f"Visit{number} at {place}{number} left me tired{number}, and nobody{number} called."


def talk(number: int, turns: int = 4) -> dict:
    said = [story(number), "Oh no, why?", f"They forgot{number} about me{number}.", "How unkind!"]
    said = [*said, f"Thank you for asking{number}.", "Any time."][:turns]
    roles = ("speaker", "listener") * 3
    return {
        "conv_id": f"hit:{number}_conv:{number}",
        "emotion": "lonely",
        "situation": f"Waiting at {number} alone, again",
        "situation_label": "lonely",
        "turns": [{"role": r, "text": t, "label": "x"} for r, t in zip(roles, said, strict=False)],
    }


def official_csv(path: Path, talks: list[dict]) -> Path:
    """The layout of the original download: `_comma_`, no quoting, sometimes a ninth field."""
    lines = ["conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"]
    for number, one in enumerate(talks):
        for index, turn in enumerate(one["turns"], 1):
            fields = [one["conv_id"], index, one["emotion"], one["situation"]]
            fields += [7 if turn["role"] == "speaker" else 9, turn["text"], "5|5|5_5|5|5", ""]
            fields += ["a candidate|another"] if number % 2 else []
            lines.append(",".join(str(field).replace(",", "_comma_") for field in fields))
    return write_lines(path, lines)


def rated_row(number: int, ratings: tuple[int, ...], responders=RESPONDERS) -> dict:
    row = {
        "part_no": 0,
        "annotator_human": "somebody",
        "dialog_id": f"hit:{number}_conv:{number}",
        "emotion": "lonely" if number % 2 else "proud",
        "sentiment": "negative",
        "plutchik": "sadness",
        "situation": f"Something, number {number}",
        "speaker_uttr": story(number),
    }
    for who in responders:
        row[f"response_{who}"] = f"{who} says something kind\nabout {number}"
    for who, rating in zip(responders, ratings, strict=True):
        row[f"rating_{who}"] = rating
    if responders == MITI_RESPONDERS:
        row |= {f"miti_{who}": "['Affirm', 'Open Question']" for who in responders}
    return row


def rated_csv(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def support_talk(number: int) -> dict:
    """ESConv opens with the supporter's greeting half of the time, and people send two in a row."""
    return {
        "experience_type": "Current Experience",
        "emotion_type": "anxiety",
        "problem_type": "job crisis",
        "situation": f"My shop{number} may close.",
        "survey_score": {"seeker": {"initial_emotion_intensity": "4", "empathy": "5"}},
        "dialog": [
            {"text": "Hello, what brings you here?", "speaker": "sys", "strategy": "Question"},
            {"text": story(number), "speaker": "usr"},
            {"text": f"I sleep badly{number}.", "speaker": "usr"},
            {"text": "That is hard.", "speaker": "sys", "strategy": "Reflection of feelings"},
            {"text": "What would help?", "speaker": "sys", "strategy": "Question"},
            {"text": f"A friend{number}, I think.", "speaker": "usr"},
        ],
        "seeker_question1": "not read",
    }
