"""What README and documentation say is run and compared."""
