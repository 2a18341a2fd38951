"""Steps of a flow that run elsewhere: functions for Globus Compute endpoints, each process with a log of its own."""
