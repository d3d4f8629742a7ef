"""qMRMLNodeComboBox: the selector of nodes, as modules know it."""

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property

from . import qt_signals
from .ui_loader import register


def _flag(name, default, after=None):
    """A bool property with a setter slot; ``after`` names a method to call on a change."""
    private = f"_standin_{name}"

    def write(self, value):
        setattr(self, private, bool(value))
        if after:
            getattr(self, after)()

    return Property(bool, lambda self: getattr(self, private, default), write)


class qMRMLSortFilterProxyModel(QtCore.QObject):
    """What a selector's ``sortFilterProxyModel()`` is to scripts: which nodes are left out by their IDs."""

    standin_cpp = True

    def __init__(self, selector):
        super().__init__(selector)
        self._standin_selector, self._standin_hidden = selector, ()

    def _hide(self, node_ids):
        if isinstance(node_ids, str):
            raise TypeError("hiddenNodeIDs takes a list of node IDs, not one text")
        if tuple(node_ids) != self._standin_hidden:
            self._standin_hidden = tuple(node_ids)
            self._standin_selector._refresh()

    hiddenNodeIDs = Property("QStringList", lambda self: self._standin_hidden, _hide)


@register
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the nodes of given classes in a scene. Never selects a node that the user or a script did not choose."""

    standin_signals = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAboutToBeRemoved(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
        "nodeActivated(vtkMRMLNode*)",
        "currentNodeRenamed(QString)",
        "mrmlSceneChanged(vtkMRMLScene*)",
    )
    standin_ignored_properties = frozenset({"interactionNodeSingletonTag", "sizeAdjustPolicy"})

    def __init__(self, parent=None):
        super().__init__(parent)
        self._standin_scene, self._standin_observers = None, []
        self._standin_types, self._standin_hidden_types = [], []
        self._standin_attributes, self._standin_base_names, self._standin_labels = [], {}, {}
        self._standin_nodes, self._standin_current, self._standin_requested = [], None, None
        self._standin_none, self._standin_leaving = "None", None
        self._standin_proxy = qMRMLSortFilterProxyModel(self)
        self._standin_box = QtWidgets.QComboBox()
        self._standin_box.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._standin_box)
        qt_signals.connect(self._standin_box, "activated(int)", self._activated)
        qt_signals.connect(self, "destroyed()", self._release)
        self.setEnabled(False)

    # --- the scene -------------------------------------------------------------------------------------------------
    def mrmlScene(self):
        return self._standin_scene

    def setMRMLScene(self, scene):
        if scene is self._standin_scene:
            return
        self._release()
        self._standin_scene = scene
        if scene is not None:
            import slicer
            import vtk

            kind = slicer.vtkMRMLScene

            # A callback for each event: MRML's own events have no names for a callback to tell them apart by.
            def calling(function):
                @vtk.calldata_type(vtk.VTK_OBJECT)
                def called(caller, event, node):
                    function(node)

                return called

            # Of removals qMRMLSceneModel hears with priority -10: after everybody else, and before the node is gone.
            for event, function, priority in (
                (kind.NodeAddedEvent, self._node_added, 0.0),
                (kind.NodeAboutToBeRemovedEvent, self._node_about_to_be_removed, -10.0),
                (kind.NodeRemovedEvent, self._node_removed, 0.0),
            ):
                self._standin_observers.append((scene, scene.AddObserver(event, calling(function), priority)))
            for event in (kind.EndCloseEvent, kind.EndBatchProcessEvent, kind.EndImportEvent):
                tag = scene.AddObserver(event, lambda caller, event: self._refresh())
                self._standin_observers.append((scene, tag))
        wanted, self._standin_requested = self._standin_requested, None
        self._refresh()
        if wanted is not None and scene is not None:
            self.setCurrentNodeID(wanted)
        self.setEnabled(scene is not None)
        qt_signals.emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def _release(self):
        for observed, tag in self._standin_observers:
            observed.RemoveObserver(tag)
        self._standin_observers = []

    def _node_added(self, node):
        if self._standin_scene is None or self._standin_scene.IsBatchProcessing():
            return
        self._refresh()
        if node in self._standin_nodes:
            qt_signals.emit(self, "nodeAdded(vtkMRMLNode*)", node)

    def _node_about_to_be_removed(self, node):
        if node not in self._standin_nodes:
            return
        qt_signals.emit(self, "nodeAboutToBeRemoved(vtkMRMLNode*)", node)
        if not self._standin_scene.IsBatchProcessing():
            self._standin_leaving = node
            self._refresh()
            self._standin_leaving = None

    def _node_removed(self, node):
        if self._standin_scene is None:
            return
        if not self._standin_scene.IsBatchProcessing():
            self._refresh()
        elif node is self._standin_current:
            self._select(None)

    # --- which nodes are listed ------------------------------------------------------------------------------------
    def sortFilterProxyModel(self):
        return self._standin_proxy

    def _accepts(self, node) -> bool:
        if node is self._standin_leaving or node.GetID() in self._standin_proxy.hiddenNodeIDs:
            return False
        for kind in self._standin_types:
            fits = node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind
            if fits and not any(node.IsA(hidden) for hidden in self._standin_hidden_types):
                break
        else:
            return False
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        for kind, name, value in self._standin_attributes:
            if node.IsA(kind):
                own = node.GetAttribute(name)
                if own is None or (value is not None and own != str(value)):
                    return False
        return True

    def _refresh(self, *_):
        before, scene = self._standin_nodes, self._standin_scene
        nodes = [] if scene is None else [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
        self._standin_nodes = [node for node in nodes if self._accepts(node)]
        self._watch_names()
        self._fill()
        current = self._standin_current
        if current is not None and current not in self._standin_nodes:
            position = before.index(current) if current in before else 0
            left = self._standin_nodes
            self._select(left[min(position, len(left) - 1)] if left and current in before else None)

    def _watch_names(self):
        import vtk

        kept = [entry for entry in self._standin_observers if entry[0] is self._standin_scene]
        for observed, tag in self._standin_observers:
            if observed is not self._standin_scene:
                observed.RemoveObserver(tag)
        for node in self._standin_nodes:
            kept.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._renamed)))
        self._standin_observers = kept

    def _renamed(self, caller, event):
        if caller in self._standin_nodes and self._accepts(caller):
            self._standin_box.setItemText(self._row(caller), caller.GetName() or "")
        else:
            self._refresh()

    def _row(self, node) -> int:
        if node is None:
            return 0 if self.noneEnabled else -1
        return self._standin_nodes.index(node) + int(self.noneEnabled)

    def _fill(self):
        box = self._standin_box
        box.blockSignals(True)
        box.clear()
        if self.noneEnabled:
            box.addItem(self._standin_none)
        for node in self._standin_nodes:
            box.addItem(node.GetName() or "")
        self._standin_nodes_end = box.count
        if self._standin_scene is not None and self._standin_types:
            label = self.nodeTypeLabel(self._standin_types[0])
            for enabled, text in (
                (self.renameEnabled, f"Rename current {label}"),
                (self.editEnabled, f"Edit current {label}"),
                (self.addEnabled, f"Create new {label}"),
                (self.removeEnabled, f"Delete current {label}"),
            ):
                if enabled:
                    box.addItem(text)
            box.setPlaceholderText(f"Select a {label}")
        current = self._standin_current
        box.setCurrentIndex(self._row(current) if current is None or current in self._standin_nodes else -1)
        box.blockSignals(False)

    def nodeTypeLabel(self, kind):
        if kind in self._standin_labels:
            return self._standin_labels[kind]
        scene = self._standin_scene
        return (scene.GetTypeDisplayNameByClassName(kind) if scene else "") or "node"

    def setNodeTypeLabel(self, label, kind):
        self._standin_labels[kind] = label
        self._fill()

    # --- the selection ---------------------------------------------------------------------------------------------
    def _select(self, node):
        if node is self._standin_current:
            return
        self._standin_current = node
        self._standin_box.blockSignals(True)
        self._standin_box.setCurrentIndex(self._row(node))
        self._standin_box.blockSignals(False)
        qt_signals.emit(self, "currentNodeChanged(vtkMRMLNode*)", node)
        qt_signals.emit(self, "currentNodeChanged(bool)", node is not None)
        qt_signals.emit(self, "currentNodeIDChanged(QString)", node.GetID() if node is not None else "")

    def _activated(self, row):
        text = self._standin_box.itemText(row)
        if row < self._standin_nodes_end:
            index = row - int(self.noneEnabled)
            self._select(self._standin_nodes[index] if index >= 0 else None)
            qt_signals.emit(self, "nodeActivated(vtkMRMLNode*)", self._standin_current)
            return
        self._fill()
        if text.startswith("Create new "):
            self.addNode()
        elif text.startswith("Delete current "):
            self.removeCurrentNode()
        elif text.startswith("Rename current ") and self._standin_current is not None:
            name = QtWidgets.QInputDialog.getText(self, text, "New name:")
            if name:
                self._standin_current.SetName(name)
                qt_signals.emit(self, "currentNodeRenamed(QString)", name)

    def currentNode(self):
        return self._standin_current

    def setCurrentNode(self, node):
        if node is not None and not hasattr(node, "GetID"):
            raise TypeError(f"setCurrentNode takes a MRML node or None, not {node!r}")
        if self._standin_scene is None:
            self._standin_requested = node.GetID() if node is not None else None
            return
        self._select(node if node in self._standin_nodes else None)

    def setCurrentNodeID(self, node_id):
        if self._standin_scene is None:
            self._standin_requested = node_id or None
            return
        self._select(next((node for node in self._standin_nodes if node.GetID() == node_id), None))

    def setCurrentNodeIndex(self, index):
        self._select(self._standin_nodes[index] if 0 <= index < len(self._standin_nodes) else None)

    def nodeCount(self):
        return len(self._standin_nodes)

    def nodeFromIndex(self, index):
        return self._standin_nodes[index] if 0 <= index < len(self._standin_nodes) else None

    def nodes(self):
        return list(self._standin_nodes)

    def addNode(self, kind=None):
        kind = kind or (self._standin_types[0] if self._standin_types else None)
        if kind not in self._standin_types or self._standin_scene is None:
            return None
        base = self._standin_base_names.get(kind) or self.nodeTypeLabel(kind)
        name = self._standin_scene.GenerateUniqueName(base)
        node = self._standin_scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetName(name)
        for _, attribute, value in self._standin_attributes:
            node.SetAttribute(attribute, str(value) if value is not None else "")
        node = self._standin_scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        qt_signals.emit(self, "nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self):
        if self._standin_current is not None:
            self._standin_scene.RemoveNode(self._standin_current)

    def addAttribute(self, kind, name, value=None):
        self._standin_attributes.append((kind, name, value))
        self._refresh()

    def removeAttribute(self, kind, name):
        self._standin_attributes = [entry for entry in self._standin_attributes if entry[:2] != (kind, name)]
        self._refresh()

    # --- properties ------------------------------------------------------------------------------------------------
    def _set_types(self, types):
        if isinstance(types, str):
            raise TypeError("nodeTypes takes a list of class names, not one text")
        self._standin_types = list(types)
        self._refresh()

    def _set_hidden_types(self, types):
        self._standin_hidden_types = list(types)
        self._refresh()

    def setBaseName(self, name, kind=""):
        for each in [kind] if kind else self._standin_types:
            self._standin_base_names[each] = name

    def _set_none_display(self, text):
        self._standin_none = text
        self._fill()

    def setNoneEnabled(self, enabled):
        self.noneEnabled = enabled

    nodeTypes = Property("QStringList", lambda self: tuple(self._standin_types), _set_types)
    hideChildNodeTypes = Property("QStringList", lambda self: tuple(self._standin_hidden_types), _set_hidden_types)
    noneEnabled = _flag("none_enabled", False, "_fill")
    addEnabled = _flag("add_enabled", True, "_fill")
    removeEnabled = _flag("remove_enabled", True, "_fill")
    editEnabled = _flag("edit_enabled", False, "_fill")
    renameEnabled = _flag("rename_enabled", False, "_fill")
    showHidden = _flag("show_hidden", False, "_refresh")
    showChildNodeTypes = _flag("show_child_node_types", True, "_refresh")
    selectNodeUponCreation = _flag("select_upon_creation", True)
    noneDisplay = Property(str, lambda self: self._standin_none, _set_none_display)
    baseName = Property(
        str, lambda self: next(iter(self._standin_base_names.values()), ""), lambda self, name: self.setBaseName(name)
    )
    currentNodeID = Property(
        str,
        lambda self: self._standin_current.GetID() if self._standin_current is not None else "",
        setCurrentNodeID,
    )
