"""Items of the subject hierarchy for nodes that are added: in Slicer its Qt plugins do that."""

# What Slicer's plugins take on: nodes a user sees as data.
SHOWN = (
    "vtkMRMLVolumeNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLTransformNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLSequenceNode",
)


class ItemKeeper:
    """Creates an item when such a node is added, and removes it with the node."""

    def __init__(self, scene):
        import slicer
        import vtk

        self._scene = scene

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(caller, event, node):
            if not scene.IsBatchProcessing():
                self._add(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def removed(caller, event, node):
            if not scene.IsClosing():
                self._remove(node)

        kind = slicer.vtkMRMLScene
        scene.AddObserver(kind.NodeAddedEvent, added)
        scene.AddObserver(kind.NodeAboutToBeRemovedEvent, removed)
        for event in (kind.EndImportEvent, kind.EndBatchProcessEvent):
            scene.AddObserver(event, lambda *_: self._add_all())

    def _hierarchy(self):
        import slicer

        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def _add(self, node):
        if node.GetHideFromEditors() or not any(node.IsA(kind) for kind in SHOWN):
            return
        hierarchy = self._hierarchy()
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def _remove(self, node):
        hierarchy = self._hierarchy()
        item = hierarchy.GetItemByDataNode(node) if node is not hierarchy else 0
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _add_all(self):
        if not self._scene.IsBatchProcessing():
            for index in range(self._scene.GetNumberOfNodes()):
                self._add(self._scene.GetNthNode(index))
