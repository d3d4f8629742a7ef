"""The MRML scene and the logics of the application, wired as Slicer wires them."""

from pathlib import Path

from .subject_hierarchy import ItemKeeper


def _module_logics(slicer):
    """{module name: logic}; order as in Slicer's dependencies."""
    names = {
        "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
        "Colors": "vtkSlicerColorLogic",
        "Units": "vtkSlicerUnitsLogic",
        "Annotations": "vtkSlicerAnnotationModuleLogic",
        "Cameras": "vtkSlicerCamerasModuleLogic",
        "CropVolume": "vtkSlicerCropVolumeLogic",
        "Markups": "vtkSlicerMarkupsLogic",
        "Models": "vtkSlicerModelsLogic",
        "Plots": "vtkSlicerPlotsLogic",
        "Segmentations": "vtkSlicerSegmentationsModuleLogic",
        "Sequences": "vtkSlicerSequencesLogic",
        "Tables": "vtkSlicerTablesLogic",
        "Texts": "vtkSlicerTextsLogic",
        "Transforms": "vtkSlicerTransformLogic",
        "ViewControllers": "vtkSlicerViewControllersLogic",
        "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
        "Volumes": "vtkSlicerVolumesLogic",
    }
    return {name: getattr(slicer, kind)() for name, kind in names.items() if hasattr(slicer, kind)}


class Scene:
    """The scene with its application logic, module logics, and the means to read and write bundles.

    ``cache``: folder for what is unpacked from bundles.
    """

    def __init__(self, cache: Path):
        import slicer
        import vtk

        self.mrml = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.mrml
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetTemporaryPath(str(cache))
        self.application_logic.SetMRMLScene(self.mrml)
        # Where Slicer looks for further color tables; it complains when it is not told.
        self.application_logic.SetHomeDirectory(str(cache))
        self.application_logic.SetShareDirectory("share")
        (cache / "share" / "ColorFiles").mkdir(parents=True, exist_ok=True)
        colors = self.application_logic.GetColorLogic()
        colors.SetMRMLScene(self.mrml)
        colors.AddDefaultColorNodes()
        self.application_logic.SetSliceLogics(vtk.vtkCollection())
        self.application_logic.SetViewLogics(vtk.vtkCollection())
        self.logics = {}
        for name, logic in _module_logics(slicer).items():
            logic.SetMRMLApplicationLogic(self.application_logic)
            logic.SetMRMLScene(self.mrml)
            self.application_logic.SetModuleLogic(name, logic)
            self.logics[name] = logic
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.mrml)
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        (cache / ".slicer-cache").touch()  # without this mark Slicer refuses to clear a cache folder
        self._remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self._remote.SetMRMLScene(self.mrml)
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLApplicationLogic(self.application_logic)
        self._data_io.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._remote.AddDataIOToScene()
        self.settle()
        self._items = ItemKeeper(self.mrml)

    def settle(self) -> None:
        """Add what every scene of Slicer holds: the subject hierarchy."""
        import slicer

        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.mrml)

    def close(self) -> None:
        """Close the scene as File > Close Scene does: singletons stay, everything else goes."""
        self.mrml.Clear(0)
        self.settle()

    def renew(self) -> None:
        """Close the scene and also drop the modules' singleton parameter nodes: nothing of one test reaches another."""
        self.close()
        for node in list(self.mrml.GetNodesByClass("vtkMRMLScriptedModuleNode")):
            self.mrml.RemoveNode(node)
