"""``slicer.app.coreIOManager()``: reading and writing nodes and scenes with the real storage nodes."""

import os
from pathlib import Path

EXTENSIONS = {
    ".mrb": "SceneFile",
    ".mrml": "SceneFile",
    ".mrk.json": "MarkupsFile",
    ".fcsv": "MarkupsFile",
    ".seg.nrrd": "SegmentationFile",
    ".nrrd": "VolumeFile",
    ".nhdr": "VolumeFile",
    ".nii": "VolumeFile",
    ".nii.gz": "VolumeFile",
    ".mha": "VolumeFile",
    ".mhd": "VolumeFile",
    ".dcm": "VolumeFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".vtk": "ModelFile",
    ".vtp": "ModelFile",
    ".stl": "ModelFile",
    ".obj": "ModelFile",
    ".ply": "ModelFile",
    ".h5": "TransformFile",
    ".tfm": "TransformFile",
    ".txt": "TextFile",
    ".json": "TextFile",
    ".xml": "TextFile",
    ".ctbl": "ColorTableFile",
}

WRITERS = (
    ("vtkMRMLMarkupsNode", "MarkupsFile"),
    ("vtkMRMLSegmentationNode", "SegmentationFile"),
    ("vtkMRMLTableNode", "TableFile"),
    ("vtkMRMLTextNode", "TextFile"),
    ("vtkMRMLColorNode", "ColorTableFile"),
    ("vtkMRMLTransformNode", "TransformFile"),
    ("vtkMRMLModelNode", "ModelFile"),
    ("vtkMRMLVolumeNode", "VolumeFile"),
    ("vtkMRMLSequenceNode", "SequenceFile"),
)

# {file type: (node class, storage node class)} for what is read by a storage node alone.
STORED = {
    "TableFile": ("vtkMRMLTableNode", "vtkMRMLTableStorageNode"),
    "TextFile": ("vtkMRMLTextNode", "vtkMRMLTextStorageNode"),
    "ColorTableFile": ("vtkMRMLColorTableNode", "vtkMRMLColorTableStorageNode"),
    "TransformFile": ("vtkMRMLTransformNode", "vtkMRMLTransformStorageNode"),
}


def file_type(path) -> str:
    """The type by the longest known extension; ``NoFile`` when there is none."""
    name = Path(str(path)).name.lower()
    fitting = [extension for extension in EXTENSIONS if name.endswith(extension)]
    return EXTENSIONS[max(fitting, key=len)] if fitting else "NoFile"


def base_name(path) -> str:
    """A file's name without its (possibly double) extension: the name a loaded node gets."""
    name = Path(str(path)).name
    fitting = [extension for extension in EXTENSIONS if name.lower().endswith(extension)]
    return name[: -len(max(fitting, key=len))] if fitting else Path(name).stem


class CoreIOManager:
    """Loads and saves by file type; a failure is False with a message, as in Slicer."""

    def __init__(self, application):
        self._application = application

    def fileType(self, path):
        return file_type(path)

    def fileWriterFileType(self, node, *_):
        return next((kind for name, kind in WRITERS if node.IsA(name)), "NoFile")

    def loadNodes(self, kind, properties, collection=None, messages=None):
        path = str(properties.get("fileName", ""))
        if not os.path.exists(path):
            return self._fail(messages, f"file not found: {path}")
        nodes = self._load(kind, path, properties)
        if nodes is None:
            return self._fail(messages, f"could not read {path} as {kind}")
        for node in nodes:
            if collection is not None:
                collection.AddItem(node)
        return True

    def loadFile(self, path):
        return self.loadNodes(file_type(path), {"fileName": path})

    def saveNodes(self, kind, properties, messages=None):
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._save_scene(path, messages)
        node = self._application.mrmlScene().GetNodeByID(properties["nodeID"])
        if not node.GetStorageNode():
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        if storage is None:
            return self._fail(messages, f"{node.GetClassName()} cannot be saved")
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node)) or self._fail(messages, f"could not write {path}")

    def saveScene(self, path, *_):
        return self.saveNodes("SceneFile", {"fileName": path})

    def emitNewFileLoaded(self, properties):
        """Nothing here listens to new files."""

    # ---------------------------------------------------------------------------------------------------------------
    def _fail(self, messages, text):
        import vtk

        if messages is not None:
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, text)
        return False

    def _load(self, kind, path, properties):
        name = properties.get("name") or base_name(path)
        logics = self._application._standin_scene.logics
        if kind == "SceneFile":
            return self._load_scene(path, properties)
        if kind == "VolumeFile":
            return self._load_volume(path, name, properties)
        if kind == "MarkupsFile":
            node_id = logics["Markups"].LoadMarkups(path, name)
            return [self._application.mrmlScene().GetNodeByID(node_id)] if node_id else None
        if kind == "ModelFile":
            node = logics["Models"].AddModel(path)
            return [node] if node else None
        if kind == "SegmentationFile":
            node = logics["Segmentations"].LoadSegmentationFromFile(path, True, name)
            return [node] if node else None
        return self._load_stored(kind, path, name)

    def _load_stored(self, kind, path, name):
        if kind not in STORED:
            return None
        scene = self._application.mrmlScene()
        node_class, storage_class = STORED[kind]
        node = scene.AddNewNodeByClass(node_class, scene.GetUniqueNameByString(name))
        storage = scene.AddNewNodeByClass(storage_class)
        storage.SetFileName(path)
        node.SetAndObserveStorageNodeID(storage.GetID())
        if not storage.ReadData(node):
            scene.RemoveNode(storage)
            scene.RemoveNode(node)
            return None
        return [node]

    def _load_volume(self, path, name, properties):
        import vtk

        options = 0
        for bit, key in ((1, "labelmap"), (2, "center"), (4, "singleFile"), (8, "autoWindowLevel"),
                         (16, "discardOrientation")):  # fmt: skip
            options |= bit if properties.get(key, key == "autoWindowLevel") else 0
        files = None
        if properties.get("fileNames"):
            files = vtk.vtkStringArray()
            for item in properties["fileNames"]:
                files.InsertNextValue(str(item))
        volumes = self._application._standin_scene.logics["Volumes"]
        node = volumes.AddArchetypeVolume(path, name, options, files)  # the logic makes the name unique
        if node is None:
            return None
        if properties.get("colorNodeID"):
            node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
        if properties.get("show", True) and not node.IsA("vtkMRMLLabelMapVolumeNode"):
            selection = self._application.applicationLogic().GetSelectionNode()
            if selection is not None:
                selection.SetActiveVolumeID(node.GetID())
                self._application.applicationLogic().PropagateVolumeSelection()
        return [node]

    def _load_scene(self, path, properties):
        scene = self._application.mrmlScene()
        clear = properties.get("clear", False)
        if path.lower().endswith(".mrb"):
            return [] if scene.ReadFromMRB(path, clear) else None
        scene.SetURL(path)
        return [] if (scene.Connect() if clear else scene.Import()) else None

    def _save_scene(self, path, messages):
        scene = self._application.mrmlScene()
        if path.lower().endswith(".mrb"):
            return bool(scene.WriteToMRB(path)) or self._fail(messages, f"could not write {path}")
        if path.lower().endswith(".mrml"):
            scene.SetRootDirectory(str(Path(path).parent))
            scene.SetURL(path)
            return bool(scene.Commit(path)) or self._fail(messages, f"could not write {path}")
        Path(path).mkdir(parents=True, exist_ok=True)
        written = scene.SaveSceneToSlicerDataBundleDirectory(path, None)
        return bool(written) or self._fail(messages, f"could not write {path}")
