"""What a reader decides on results: own estimate first, accepted, corrected, rejected, outcomes, in an audit log."""
