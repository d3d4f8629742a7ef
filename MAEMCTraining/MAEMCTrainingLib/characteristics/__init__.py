"""What an exported model tells beside its number: heads for characteristics, judged beside readers, and its nodules."""
