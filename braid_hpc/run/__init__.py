"""What a program on a rank calls: jobs, runs, records, activities, streams.

Nothing in this room reads a log or knows a store, and nothing in it raises into the program.
"""
