"""A real slice view, offscreen: reformatted volumes, markups, models, mouse. No Qt; needs OpenGL."""

import numpy as np

from . import opengl

ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
# What Slicer maps the reslice logic's 8-bit colors with: every value shows as it is.
COLOR_WINDOW, COLOR_LEVEL = 255.0, 127.5


def _factory(application_logic):
    import slicer

    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(application_logic)
    for name in MANAGERS:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    return factory


class SliceView:
    """One slice view: ``SliceView("Red", (width, height))``. The layout manager knows it until ``close()``."""

    def __init__(self, name: str = "Red", size: tuple[int, int] = (400, 400)):
        import slicer
        import vtk

        self.name, self.size = name, size
        self._closed = False
        application_logic = slicer.app.applicationLogic()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(*size)
        self.window.SetMultiSamples(0)
        self.window.SetNumberOfLayers(2)
        self.renderer = vtk.vtkRenderer()
        self.renderer.SetLayer(0)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.window.AddRenderer(self.renderer)
        self._overlay = vtk.vtkRenderer()
        self._overlay.SetLayer(1)
        self._overlay.GetActiveCamera().ParallelProjectionOn()
        self.window.AddRenderer(self._overlay)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.window.SetInteractor(self.interactor)
        # A style that does nothing: VTK's default one would take the mouse, and Slicer's observer asks for one.
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())

        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        # View nodes are singletons: they stay when a scene is closed, so one may be there already.
        existing = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if existing:
            self.logic.SetSliceNode(existing)
        else:
            self.logic.AddSliceNode(name)
        self.node = self.logic.GetSliceNode()
        self.node.SetOrientation(ORIENTATIONS.get(name, "Axial"))
        self.logic.ResizeSliceNode(*size)

        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(COLOR_WINDOW)
        self._mapper.SetColorLevel(COLOR_LEVEL)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(self._mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._image)

        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.Initialize(_factory(application_logic), self._overlay)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.managers)
        self.style.SetInteractor(self.interactor)
        self.interactor.Initialize()
        slicer.app.standin_layout_manager().standin_add(self)

    # --- what is shown -----------------------------------------------------------------------------------------------
    def show(self, background=None, foreground=None, opacity: float = 0.5) -> None:
        """Show volumes (nodes) and fit the view to the background, as loading a volume does in Slicer."""
        composite = self.logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(background.GetID() if background else None)
        composite.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        composite.SetForegroundOpacity(opacity if foreground else 0.0)
        if background:
            self.fit()

    def fit(self) -> None:
        """Zoom so that the whole background volume is seen."""
        self.logic.FitSliceToAll(*self.size)

    def jump(self, ras) -> None:
        """Put the slice through a point (and center it), as clicking a row of a table does."""
        self.node.JumpSliceByCentering(*(float(value) for value in ras))

    def set_field_of_view(self, millimeters: float) -> None:
        """The width of the view in mm; the height follows its shape."""
        width, height = self.size
        self.node.SetFieldOfView(millimeters, millimeters * height / width, self.node.GetFieldOfView()[2])

    def render(self) -> None:
        """Draw now."""
        self.logic.UpdatePipeline()
        connection = self.logic.GetImageDataConnection()
        if connection is None:
            self._mapper.RemoveAllInputConnections(0)
        else:
            self._mapper.SetInputConnection(connection)
        self._image.SetVisibility(connection is not None)
        self.window.Render()

    # --- where things are --------------------------------------------------------------------------------------------
    def to_display(self, ras) -> tuple[float, float]:
        """Display coordinates (pixels, from the lower left) of a RAS point, in the current slice geometry."""
        import vtk

        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y, _, _ = inverse.MultiplyPoint((*(float(value) for value in ras), 1.0))
        return x, y

    def to_ras(self, x: float, y: float) -> tuple[float, float, float]:
        """The RAS point under a display position."""
        return tuple(self.node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3])

    # --- the mouse ---------------------------------------------------------------------------------------------------
    def _mouse(self, event: str, position, control: bool = False, shift: bool = False) -> None:
        x, y = (round(value) for value in position)
        self.interactor.SetEventInformation(x, y, int(control), int(shift), "\0", 0, None)
        self.interactor.InvokeEvent(event)

    def move(self, ras) -> None:
        """Move the mouse to a point."""
        self._mouse("MouseMoveEvent", self.to_display(ras))

    def click(self, ras) -> tuple[float, float, float]:
        """Left click at a RAS point, through the pixel nearest to it; returns that pixel's RAS point."""
        self.render()
        position = self.to_display(ras)
        for event in ("MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self._mouse(event, position)
        self.render()
        return self.to_ras(*(round(value) for value in position))

    def drag(self, start, end, steps: int = 8) -> tuple[float, float, float]:
        """Press at one RAS point, move, release at another; returns the RAS point of the last pixel."""
        self.render()
        first, last = np.array(self.to_display(start)), np.array(self.to_display(end))
        self._mouse("MouseMoveEvent", first)
        self._mouse("LeftButtonPressEvent", first)
        for step in range(1, steps + 1):
            self._mouse("MouseMoveEvent", first + (last - first) * step / steps)
        self._mouse("LeftButtonReleaseEvent", last)
        self.render()
        return self.to_ras(*(round(value) for value in last))

    def place(self, markups_node, persistent: bool = False) -> None:
        """Start placing points of a markups node, as a module does through selection and interaction node."""
        start_placing(markups_node, persistent)

    # --- pixels ------------------------------------------------------------------------------------------------------
    def screenshot(self) -> np.ndarray:
        """What is drawn: (height, width, 3) uint8, first row at the top."""
        self.render()
        return opengl.pixels(self.window)

    def close(self) -> None:
        """Take the view down; its nodes go when the scene is closed."""
        import slicer

        if self._closed:
            return
        self._closed = True
        slicer.app.standin_layout_manager().standin_remove(self.name)
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self.logic)
        self.style.SetInteractor(None)
        self.style.SetDisplayableManagers(None)
        self.style.SetSliceLogic(None)
        self.managers.SetMRMLDisplayableNode(None)
        self.logic.SetMRMLScene(None)
        self.window.Finalize()


def start_placing(markups_node, persistent: bool = False) -> None:
    """Make a markups node the one that the next click places a point of."""
    import slicer

    logic = slicer.app.applicationLogic()
    selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
    selection.SetReferenceActivePlaceNodeClassName(markups_node.GetClassName())
    selection.SetActivePlaceNodeID(markups_node.GetID())
    interaction.SetPlaceModePersistence(int(persistent))
    interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)
