"""What recording costs on a machine of the user's own, measured inside a job of the user's own."""
