"""Where the nodes of an analysis lie in the data tree: a folder beside the CT, and in it a folder for each nodule."""

import slicer
import vtk

_FOLDER_MARK = "MAEMC.Folder"
_NODULE_MARK = "MAEMC.NoduleFolder"


class AnalysisFolder:
    """The folder of an analysis, which lies beside the CT, under the same study; made when something is put into it."""

    def __init__(self, analysis) -> None:
        self._analysis = analysis
        self._tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(analysis.tableNode.GetScene())
        # Table or point list may have lost its item already: one of them is being removed.
        inside = [self._tree.GetItemByDataNode(node) for node in (analysis.tableNode, analysis.pointsNode) if node]
        inside += [self._parent(self._tree.GetItemByDataNode(node)) for node in analysis.nodesOf()]
        parents = [item for item in map(self._parent, inside) if item]
        self._folder = next((item for item in parents if self._tree.GetItemAttribute(item, _FOLDER_MARK) == "1"), 0)

    def place(self, node) -> None:
        """Put a node into it."""
        self._place(node, self._made())

    def placeOfNodule(self, pointID: str, name: str, node) -> None:
        """Put a node that belongs to one nodule into the nodule's own folder."""
        parent = self._made()
        folder = self._noduleFolder(pointID)
        if not folder:
            folder = self._tree.CreateFolderItem(parent, name)
            self._tree.SetItemAttribute(folder, _NODULE_MARK, pointID)
        self._place(node, folder)

    def nameNodule(self, pointID: str, name: str) -> None:
        """A nodule's folder has the nodule's name."""
        folder = self._noduleFolder(pointID)
        if folder and self._tree.GetItemName(folder) != name:
            self._tree.SetItemName(folder, name)

    def removeNodule(self, pointID: str) -> None:
        """Remove a nodule's folder, when what was in it is gone; what a user has put there moves up."""
        self._dissolve(self._noduleFolder(pointID))

    def remove(self) -> None:
        """Remove the folder; what is in it moves up."""
        self._dissolve(self._folder)

    def _made(self) -> int:
        if not self._folder:
            study = self._parent(self._tree.GetItemByDataNode(self._analysis.volumeNode or self._analysis.tableNode))
            name = self._analysis.tableNode.GetName()
            self._folder = self._tree.CreateFolderItem(study or self._tree.GetSceneItemID(), name)
            self._tree.SetItemAttribute(self._folder, _FOLDER_MARK, "1")
            self._place(self._analysis.tableNode, self._folder)
        return self._folder

    def _place(self, node, folder: int) -> None:
        # During batch processing the application has not made the node's item yet.
        item = self._tree.GetItemByDataNode(node) or self._tree.CreateItem(folder, node)
        self._tree.SetItemParent(item, folder)

    def _noduleFolder(self, pointID: str) -> int:
        children = self._children(self._folder)
        return next((item for item in children if self._tree.GetItemAttribute(item, _NODULE_MARK) == pointID), 0)

    def _dissolve(self, folder: int) -> None:
        for item in self._children(folder):
            self._tree.SetItemParent(item, self._parent(folder))
        if folder:
            self._tree.RemoveItem(folder, False, False)

    def _children(self, folder: int) -> list:
        children = vtk.vtkIdList()
        if folder:
            self._tree.GetItemChildren(folder, children)
        return [children.GetId(index) for index in range(children.GetNumberOfIds())]

    def _parent(self, item: int) -> int:
        return self._tree.GetItemParent(item) if item else 0
