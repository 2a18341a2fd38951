"""Tasks: functions whose calls have an identity, so that what is done is not done again.

On a rank only: the standard library, what a rank has, and one mapped file, the done index.
"""
