"""The Slicer face of MAEMC Nodule: parameter node, logic on MRML nodes, and the widget over it."""
