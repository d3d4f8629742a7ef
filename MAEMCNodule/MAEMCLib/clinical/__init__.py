"""Clinical scores of a nodule: probability models and guidelines, each with its source, its limits and its edges.

Plain Python: Slicer's own process imports it. ``scores`` holds one file a score; ``fields`` is the one table of what
scores ask for; ``score`` is what a score is and what it answers; ``exam`` joins the nodules of one examination.
"""
