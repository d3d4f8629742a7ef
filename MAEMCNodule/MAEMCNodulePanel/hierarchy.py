"""Where the nodes of an analysis lie in the data tree: a folder beside the CT, and in it a folder for each nodule."""

import slicer
import vtk

_FOLDER_MARK = "MAEMC.Folder"
_NODULE_MARK = "MAEMC.NoduleFolder"


def placeInFolder(analysis, node) -> None:
    """Put a node into the analysis' folder, which lies beside the CT, under the same study."""
    hierarchy = _hierarchy(analysis)
    folder = _analysisFolder(hierarchy, analysis)
    if folder:
        hierarchy.SetItemParent(_item(hierarchy, node, folder), folder)


def placeInNoduleFolder(analysis, pointID: str, name: str, node) -> None:
    """Put a node that belongs to one nodule into the nodule's own folder."""
    hierarchy = _hierarchy(analysis)
    parent = _analysisFolder(hierarchy, analysis)
    if not parent:
        return
    folder = _noduleFolder(hierarchy, parent, pointID)
    if not folder:
        folder = hierarchy.CreateFolderItem(parent, name)
        hierarchy.SetItemAttribute(folder, _NODULE_MARK, pointID)
    hierarchy.SetItemParent(_item(hierarchy, node, folder), folder)


def nameNoduleFolder(analysis, pointID: str, name: str) -> None:
    """A nodule's folder has the nodule's name."""
    hierarchy = _hierarchy(analysis)
    folder = _noduleFolder(hierarchy, _folderOf(hierarchy, analysis), pointID)
    if folder and hierarchy.GetItemName(folder) != name:
        hierarchy.SetItemName(folder, name)


def removeNoduleFolder(analysis, pointID: str) -> None:
    """Remove a nodule's folder, when what was in it is gone; what a user has put there moves up."""
    hierarchy = _hierarchy(analysis)
    _dissolve(hierarchy, _noduleFolder(hierarchy, _folderOf(hierarchy, analysis), pointID))


def removeFolder(analysis) -> None:
    """Remove an analysis' folder from the data tree; what is in it moves up."""
    hierarchy = _hierarchy(analysis)
    _dissolve(hierarchy, _folderOf(hierarchy, analysis))


def _hierarchy(analysis):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(analysis.tableNode.GetScene())


def _item(hierarchy, node, parent: int) -> int:
    """The node's item; made where the application has not made it yet, as during batch processing."""
    return hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)


def _folderOf(hierarchy, analysis) -> int:
    # Table or point list may have lost its item already: one of them is being removed.
    anchors = [hierarchy.GetItemByDataNode(node) for node in (analysis.tableNode, analysis.pointsNode) if node]
    parents = [hierarchy.GetItemParent(item) for item in anchors if item]
    for item in map(hierarchy.GetItemByDataNode, analysis.nodesOf()):
        parents.append(hierarchy.GetItemParent(hierarchy.GetItemParent(item)) if item else 0)
    return next((item for item in parents if item and hierarchy.GetItemAttribute(item, _FOLDER_MARK) == "1"), 0)


def _analysisFolder(hierarchy, analysis) -> int:
    folder = _folderOf(hierarchy, analysis)
    if folder:
        return folder
    volumeItem = hierarchy.GetItemByDataNode(analysis.volumeNode) if analysis.volumeNode else 0
    study = hierarchy.GetItemParent(volumeItem) if volumeItem else hierarchy.GetSceneItemID()
    folder = hierarchy.CreateFolderItem(study, analysis.tableNode.GetName())
    hierarchy.SetItemAttribute(folder, _FOLDER_MARK, "1")
    hierarchy.SetItemParent(_item(hierarchy, analysis.tableNode, folder), folder)
    return folder


def _noduleFolder(hierarchy, folder: int, pointID: str) -> int:
    if not folder:
        return 0
    children = _children(hierarchy, folder)
    return next((item for item in children if hierarchy.GetItemAttribute(item, _NODULE_MARK) == pointID), 0)


def _dissolve(hierarchy, folder: int) -> None:
    if not folder:
        return
    for item in _children(hierarchy, folder):
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(folder))
    hierarchy.RemoveItem(folder, False, False)


def _children(hierarchy, folder: int) -> list:
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(folder, children)
    return [children.GetId(index) for index in range(children.GetNumberOfIds())]
