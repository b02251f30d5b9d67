"""What operators and their machines ask of a host, on a port that only this machine reaches."""
