"""The words everything else is said in: event codes, references, identities, encodings, errors.

Nothing in this room imports another room of the package, and nothing in it touches a file.
"""
