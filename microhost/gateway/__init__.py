"""Answer the network: host name to Micro to answer, with every guard that a server on the Internet needs."""
