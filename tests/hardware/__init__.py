"""A block of hardware, its test bench, its model, and what a simulation of it sent."""
