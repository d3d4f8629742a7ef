"""The panel: shows what the logic knows, and turns clicks into calls of it. Nothing here takes long."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from . import controls, details, lungwindow, overlaychoice, views
from .alikesection import AlikeSection
from .clinicalform import ClinicalForm
from .clinicalscores import ClinicalScores
from .clinicalvalues import clinicalOf
from .edits import middleOf
from .exportdialog import ExportDialog
from .heatmaps import HeatMaps
from .helppage import HELP_PAGE
from .installing import BROKEN_CODES
from .logic import MAEMCNoduleLogic
from .modelsmenu import ModelsMenu
from .nodes import isOverlay
from .noduleview import NoduleView
from .operatingpointssection import OperatingPointsSection
from .panelwidget import PanelWidget
from .priorsection import PriorSection
from .report import reportText
from .reviewsection import ReviewSection
from .rowmenu import RowMenu
from .shortcuts import Shortcuts
from .showing import proposedVolume, scoresPictures, selectAmong, volumeKinds


class MAEMCNoduleWidget(PanelWidget, VTKObservationMixin):
    """The module's panel. All it does can be done with ``self.logic`` as well."""

    makeLogic = MAEMCNoduleLogic
    packages = ("MAEMCNodulePanel", "MAEMCLib")

    def __init__(self, parent=None) -> None:
        PanelWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = None
        self._guiTag = None
        self._shown = (None, None, "")  # CT, point list and model as they were when last looked at
        self._deselected = False  # whether the user has chosen that there be no CT
        self._choosing = False
        self._backgrounds: dict = {}
        self._advice = ""

    # Life of the panel

    def setup(self) -> None:
        PanelWidget.setup(self)
        self.logic.attach()
        self.logic.queue.deviceRequest = self.ui.deviceSelector.currentData
        self.clinicalForm = ClinicalForm(self.ui.clinicalFrame, self.onClinicalEdited)
        self.noduleView = NoduleView(self.ui, HeatMaps(self.ui, self.logic.queue))
        self.operatingPoints = OperatingPointsSection(self.ui)
        self.alikeSection = AlikeSection(self.ui, self.logic)
        self.reviewSection = ReviewSection(self.ui, self.logic, self._errorsInStatusLine)
        self.priorSection = PriorSection(self.ui, self.logic, self._errorsInStatusLine)
        self.exportDialog = ExportDialog(self.logic)
        self.clinicalScores = ClinicalScores(self.ui, self.onScoreValueEdited)
        self.rowMenu = RowMenu(self.ui.resultTable, self.logic.edits, self._rows, self._goTo)
        self.modelsMenu = ModelsMenu(self.ui.modelsButton, self.logic, self._onModelsChanged)
        self.shortcuts = Shortcuts(self.parent, self._keys())
        self.ui.resultTable.horizontalHeader().setDefaultAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
        self._connect()

    def cleanup(self) -> None:
        self.shortcuts.disable()
        self.exportDialog.close()
        self.setParameterNode(None)
        self.removeObservers()
        PanelWidget.cleanup(self)

    def enter(self) -> None:
        controls.fillModels(self.ui.modelSelector)
        self.initializeParameterNode()
        PanelWidget.enter(self)
        self.shortcuts.disable()  # of views that are gone
        self.shortcuts.enable()
        self._wake()

    def exit(self) -> None:
        PanelWidget.exit(self)
        self.shortcuts.disable()
        if self._parameterNode is not None:
            views.stopPlacing(self._parameterNode.points)

    def initializeParameterNode(self) -> None:
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode) -> None:
        """Bind the panel to a parameter node; None sets it free, as while a scene is closed."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            node = self._parameterNode.parameterNode
            self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is None:
            return
        self._shown = (parameterNode.inputVolume, parameterNode.points, parameterNode.model)
        self._guiTag = parameterNode.connectGui(self.ui)
        self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        controls.selectModel(self.ui.modelSelector, self.logic, parameterNode.model)
        volume = parameterNode.inputVolume
        if volume is not None and volume not in views.backgroundVolumes():
            views.showBackground(volume)
        self.logic.display.arrange()
        self._wake()

    def _connect(self) -> None:
        ui = self.ui
        ui.modelSelector.connect("activated(int)", self.onModelSelected)
        ui.placeButton.connect("clicked(bool)", self.onPlaceNodule)
        ui.scoreButton.connect("clicked()", self.onScore)
        ui.stopButton.connect("clicked()", self.onStop)
        ui.removeButton.connect("clicked()", self.onRemove)
        ui.undoButton.connect("clicked()", self.logic.edits.undo)
        ui.snapButton.connect("clicked()", self.onSnap)
        ui.helpButton.connect("clicked()", lambda: qt.QDesktopServices.openUrl(qt.QUrl(HELP_PAGE)))
        ui.lungWindowButton.connect("clicked()", lambda: self.onWindowAnswered(True))
        ui.keepWindowButton.connect("clicked()", lambda: self.onWindowAnswered(False))
        ui.exportButton.connect("clicked()", self.onExport)
        ui.prevalenceSlider.connect("valueChanged(double)", self.onPrevalence)
        ui.detailsButton.connect("toggled(bool)", self.onDetailsToggled)
        ui.copyReportButton.connect("clicked()", self.onCopyReport)
        ui.clinicalScoresButton.connect("contentsCollapsed(bool)", self._wake)
        for button in (ui.priorButton, ui.operatingPointsButton, ui.alikeButton, ui.explanationButton):
            button.connect("contentsCollapsed(bool)", self._wake)
        ui.resultTable.connect("itemSelectionChanged()", self.onNoduleSelected)
        ui.resultTable.connect("itemClicked(QTableWidgetItem*)", self.onNoduleSelected)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneRead)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneRead)
        self.addObserver(scene, scene.NodeAddedEvent, self._onNodeAdded)
        self.addObserver(scene, scene.NodeRemovedEvent, self._wake)
        for composite in views.compositeNodes():
            self.addObserver(composite, vtk.vtkCommand.ModifiedEvent, self._onViewChanged)
        interactionNode = views.interactionNode(scene)
        if interactionNode is not None:
            self.addObserver(interactionNode, interactionNode.InteractionModeChangedEvent, self._wake)

    # What the user does

    def onPlaceNodule(self, checked: bool) -> None:
        chosen = self._parameterNode
        if not checked:
            views.stopPlacing(chosen.points)
            return
        with self._errorsInStatusLine():
            chosen.points = self.logic.startPlacing(chosen.inputVolume, chosen.points)
        self.refresh()

    def onScore(self) -> None:
        with self._errorsInStatusLine():
            parameterNode = self._parameterNode
            if scoresPictures(self.logic.chosenCard()):
                self.logic.requestPicture(parameterNode.inputVolume)
                return
            analysis = self._analysis()
            waiting = [p for p, record in analysis.records() if record.state != "scored"] if analysis else None
            self.logic.requestScore(parameterNode.inputVolume, parameterNode.points, waiting or None)

    def onStop(self) -> None:
        self.logic.stop()
        self.refresh()

    def onRemove(self) -> None:
        analysis = self._analysis()
        if analysis is not None:
            self.logic.removeNodule(analysis, self._parameterNode.selectedPoint)

    def onSnap(self) -> None:
        analysis, pointID = self._analysis(), self._parameterNode.selectedPoint
        middle = middleOf(analysis, pointID, analysis.record(pointID))
        if middle is not None:
            self.logic.edits.move(analysis, pointID, middle)

    def _onModelsChanged(self, name: str | None) -> None:
        """name: of the model that has come, to be chosen; None where the chosen one is gone."""
        controls.fillModels(self.ui.modelSelector)
        self._parameterNode.model = name or ""
        controls.selectModel(self.ui.modelSelector, self.logic, self._parameterNode.model)
        self._wake()

    def onWindowAnswered(self, lung: bool) -> None:
        lungwindow.answer(self._parameterNode.inputVolume, lung)
        self.refresh()

    def onNext(self, step: int = 1) -> None:
        """Go to the nodule that many rows further, and round."""
        analysis, pointIDs = self._rows()
        if pointIDs:
            selected = self._parameterNode.selectedPoint
            number = pointIDs.index(selected) + step if selected in pointIDs else 0
            self._goTo(analysis, pointIDs[number % len(pointIDs)])

    def onToggleOverlay(self) -> None:
        overlaychoice.toggle(self._parameterNode)

    def onAcceptKey(self) -> None:
        self.reviewSection.acceptButton.click()  # a disabled one does nothing

    def _keys(self) -> dict:
        return {
            "place": self.ui.placeButton.click,
            "next": self.onNext,
            "previous": lambda: self.onNext(-1),
            "toggleOverlay": self.onToggleOverlay,
            "accept": self.onAcceptKey,
            "undo": self.logic.edits.undo,
        }

    def onExport(self) -> None:
        self.exportDialog.open(self._analysis(), self._parameterNode.selectedPoint)

    def onPrevalence(self, percent: float) -> None:
        self._parameterNode.prevalence = percent / 100

    def _onInstalled(self, code: str) -> None:
        if code in BROKEN_CODES:
            self._advice = _("PyTorch was installed anew. Restart Slicer if it still fails.")
        self.logic.stop()
        self.logic.worker.stop()

    def onDetailsToggled(self, shown: bool) -> None:
        self.ui.detailsFrame.visible = shown
        if shown:
            self.ui.detailsText.plainText = reportText(self.logic)

    def onCopyReport(self) -> None:
        qt.QApplication.clipboard().setText(reportText(self.logic))

    def onModelSelected(self, index: int) -> None:
        self._parameterNode.model = self.ui.modelSelector.itemData(index) or ""

    def onClinicalEdited(self, name: str, text: str) -> None:
        volume = self._parameterNode.inputVolume
        with self._errorsInStatusLine():
            values = clinicalOf(volume, self.logic.chosenModel().card.clinical) | {name: text}
            self.logic.setClinical(volume, {name: text for name, text in values.items() if text})

    def onScoreValueEdited(self, name: str, text: str) -> None:
        self.logic.setScoreValue(self._analysis(), self._parameterNode.selectedPoint, name, text)

    def onDeviceSelected(self, index: int) -> None:
        PanelWidget.onDeviceSelected(self, index)
        self.logic.requestDevice(self.ui.deviceSelector.itemData(index))

    def onNoduleSelected(self, item=None) -> None:
        """item: the one that was clicked, since a click on the row that is selected already tells of no selection."""
        row = self.ui.resultTable.currentRow()
        analysis, pointIDs = self._rows()
        if 0 <= row < len(pointIDs):
            self._goTo(analysis, pointIDs[row])

    def _goTo(self, analysis, pointID: str) -> None:
        self._parameterNode.selectedPoint = pointID
        self.logic.display.show(analysis, pointID)

    def _rows(self) -> tuple:
        """(analysis, IDs of its nodules in the order of the table's rows)."""
        analysis = self._analysis()
        return analysis, analysis.recordIDs() if analysis else []

    # What the scene and the worker do

    def onTimer(self) -> None:
        """Poll and show what is new; sleeps when there is nothing to wait for."""
        self.logic.poll()
        if not self.logic.isBusy():
            self.timer.stop()
        self.refresh()

    def _onParametersChanged(self, caller, event) -> None:
        parameterNode = self._parameterNode
        if parameterNode is None or self._choosing or slicer.mrmlScene.IsBatchProcessing():
            return  # what a scene brings with it is taken up when it has been read
        if not scoresPictures(self.logic.chosenCard()):
            overlaychoice.remember(parameterNode)
        volume, points, model = parameterNode.inputVolume, parameterNode.points, parameterNode.model
        before, self._shown = self._shown, (volume, points, model)
        if volume is not before[0]:
            self._deselected = volume is None and before[0] is not None and before[0].GetScene() is not None
            self._choosing = True  # its list is chosen with it, which is nobody's choice of a list
            self.logic.chooseVolume(volume)
            self._choosing = False
            self._shown = (volume, parameterNode.points, model)
        elif points is not before[1] and volume is not None:
            if before[1] is not None:
                self.logic.putAside(volume, before[1])
            if points is not None:
                self.logic.choosePoints(volume, points)
        if model != before[2]:
            self.logic.statusLine.forgetInput()
            controls.selectModel(self.ui.modelSelector, self.logic, model)
            # Of two models one may score nodules and one pictures: what is selected is among what is listed.
            selectAmong(self._analysis())
        self._showOverlay()
        self.logic.display.arrange()
        self._wake()

    def _onSceneStartClose(self, caller, event) -> None:
        self.setParameterNode(None)

    def _onSceneRead(self, caller, event) -> None:
        if self._entered or self._parameterNode is not None:
            self.initializeParameterNode()
        self._wake()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, caller, event, node) -> None:
        if node.IsA("vtkMRMLSliceCompositeNode"):  # of a view that has not been there before
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onViewChanged)
        elif node.IsA("vtkMRMLScalarVolumeNode") and not isOverlay(node):  # color pictures are such nodes, too
            self._deselected = False
        self._wake()

    def _onViewChanged(self, caller, event) -> None:
        if self._parameterNode is None or slicer.mrmlScene.IsBatchProcessing():
            return
        backgrounds = views.backgrounds()
        if backgrounds != self._backgrounds:
            self._backgrounds = backgrounds
            self.logic.display.followViews(volumeKinds(self.logic.chosenCard()))
            self._wake()

    # What is shown

    def refresh(self) -> None:
        """Bring every part of the panel up to date."""
        ui, status, chosen, card = self.ui, self.logic.status, self._parameterNode, self.logic.chosenCard()
        volume = points = analysis = None
        if chosen is not None:
            controls.showInputKind(ui, card)
            if chosen.inputVolume is None and not self._deselected:
                chosen.inputVolume = proposedVolume(volumeKinds(card))
            volume, points, analysis = chosen.inputVolume, chosen.points, self._analysis()
            fields = card.clinical if card else ()
            self.clinicalForm.show(fields, clinicalOf(volume, fields), volume)
            details.fillNodules(ui, analysis, chosen.selectedPoint)
            self._showNodule(analysis, chosen.selectedPoint, card)
            self.operatingPoints.show(analysis, chosen.selectedPoint, card, chosen.prevalence)
            self.alikeSection.show(analysis, chosen.selectedPoint, card)
            self.reviewSection.show(analysis, chosen.selectedPoint)
            self.priorSection.show(analysis, chosen.selectedPoint)
            self.exportDialog.show(analysis, chosen.selectedPoint)
            self.clinicalScores.show(analysis, chosen.selectedPoint)
        controls.updateButtons(ui, volume, points, analysis, self.logic.isBusy(), card)
        controls.updateNoduleButtons(ui, analysis, chosen.selectedPoint if chosen else "", self.logic.edits.undoText)
        controls.offerLungWindow(ui, None if scoresPictures(card) else volume)
        advice = self._advice if status.code in BROKEN_CODES or not status.text else ""
        ui.statusLabel.text = f"{details.statusText(self.logic)} {advice}".strip()
        self._updateInstallButton()
        ui.detailsButton.visible = status.kind == "error" or ui.detailsButton.checked

    def _showNodule(self, analysis, pointID: str, card) -> None:
        logic = self.logic
        self._showOverlay()
        explained = logic.queue.explanations.of((analysis.id, pointID)) if analysis else None
        self.noduleView.show(analysis, pointID, card, explained, logic.isWarm)

    def _showOverlay(self) -> None:
        analysis, pointID = self._analysis(), self._parameterNode.selectedPoint
        if analysis is not None and pointID:
            self.logic.showOverlay(analysis, pointID)

    def _analysis(self):
        return self.logic.shownAnalysis() if self._parameterNode else None
