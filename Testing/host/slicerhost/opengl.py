"""Drawing without a screen: is there an OpenGL that VTK can draw with, and what does a window show?"""

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
    """Empty when views can be drawn; otherwise the reason, for a test to skip with.

    Asked in a child process: without OpenGL, VTK ends the process.
    """
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


def pixels(window):
    """What a VTK window shows: (height, width, 3) uint8, first row at the top."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    columns, rows, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()
