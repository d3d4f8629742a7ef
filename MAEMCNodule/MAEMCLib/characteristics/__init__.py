"""What stands beside a nodule's number: characteristics in the words of its readers, and the nodules most like it."""
