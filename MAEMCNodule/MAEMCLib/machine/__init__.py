"""The computer that this runs on: PyTorch, devices, child processes, the terminal."""
