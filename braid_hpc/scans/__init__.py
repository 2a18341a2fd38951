"""Reading back what an instrument recorded: runs, their streams as tables and arrays, and their settings."""
