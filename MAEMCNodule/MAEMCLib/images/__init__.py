"""What scanners and other programs write: volumes and pictures, read strictly."""
