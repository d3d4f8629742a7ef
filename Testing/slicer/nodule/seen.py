"""What is to be seen in the scene, as a test asks for it: backgrounds, overlays, frames, labels."""

import slicer


def composites():
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def backgrounds():
    return {composite.GetBackgroundVolumeID() for composite in composites()}


def foregrounds():
    shown = [composite.GetForegroundVolumeID() for composite in composites()]
    return [slicer.mrmlScene.GetNodeByID(volumeID).GetAttribute("MAEMC.Overlay") for volumeID in shown if volumeID]


def opacities():
    return {composite.GetForegroundOpacity() for composite in composites() if composite.GetForegroundVolumeID()}


def frames(panel):
    return {
        (analysis.volumeNode.GetName(), pointID): bool(analysis.roiNode(pointID).GetDisplayVisibility())
        for analysis in panel.logic.analyses()
        for pointID in analysis.recordIDs()
    }


def label(points, index=0):
    return points.GetNthControlPointLabel(index)
