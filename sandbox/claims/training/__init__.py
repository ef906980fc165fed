"""The training core held against closed forms, against itself, and against its definitions."""

READING_ORDER = ("descent", "resume", "accuracy")
