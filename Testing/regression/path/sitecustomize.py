"""Imported by each Python that the comparison starts, after all .pth files: the compared tree comes before whatever
they put on the path, in the processes that the tree itself starts too."""

import os
import sys

sys.path[:0] = os.environ["COMPARED_TREE"].split(os.pathsep)
