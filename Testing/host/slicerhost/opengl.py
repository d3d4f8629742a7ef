"""Is there an OpenGL that VTK can draw with? Asked in a child process: without one, VTK ends the process."""

import functools
import subprocess
import sys

PROBE = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(16, 16)
renderer = vtk.vtkRenderer()
window.AddRenderer(renderer)
window.Render()
print("rendered", window.GetClassName())
"""


@functools.cache
def missing() -> str:
    """Empty when slice views can be drawn; otherwise the reason, for a test to skip with."""
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "no OpenGL: rendering did not end within 120 s"
    if done.returncode == 0 and "rendered" in done.stdout:
        return ""
    return (
        f"no OpenGL: a trial rendering ended with {done.returncode} "
        "(Debian: apt install libegl1 libegl-mesa0 libgl1-mesa-dri)"
    )
