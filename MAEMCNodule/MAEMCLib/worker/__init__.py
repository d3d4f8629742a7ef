"""The process beside Slicer that holds the network, and the client that speaks to it."""
