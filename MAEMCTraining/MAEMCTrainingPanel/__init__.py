"""The Slicer face of MAEMC Training: logic over job folders, the curve's nodes, and the widget over them."""
