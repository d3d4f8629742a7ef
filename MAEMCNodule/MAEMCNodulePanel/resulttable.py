"""The table node of an analysis: a row for each nodule, for people and scripts, and in Slicer's table views."""

import slicer
import vtk
from slicer.i18n import tr as _

from .resultwords import intervalText, notesText
from .reviewstate import decisionOf, seenRecords
from .volumes import lpsFromRas


def writeTable(analysis) -> None:
    """Write the table's columns from the records: a row for each point; what was not computed is empty (NaN).

    Names of columns are for scripts and never translated; titles, units and descriptions are for people.
    """
    rows = [_row(analysis, pointID, record) for pointID, record in seenRecords(analysis)]
    columns, tableNode = _columns(), analysis.tableNode
    table = vtk.vtkTable()
    for name, (_title, unit, _description) in columns.items():
        column = vtk.vtkDoubleArray() if unit is not None else vtk.vtkStringArray()
        column.SetName(name)
        for row in rows:
            value = row.get(name)
            if unit is None:
                column.InsertNextValue(value or "")
            else:
                column.InsertNextValue(float("nan") if value is None else float(value))
        table.AddColumn(column)
    with slicer.util.NodeModify(tableNode):
        tableNode.SetAndObserveTable(table)
        tableNode.SetUseColumnTitleAsColumnHeader(True)
        for name, (title, unit, description) in columns.items():
            tableNode.SetColumnTitle(name, title)
            tableNode.SetColumnDescription(name, description)
            if unit:
                tableNode.SetColumnUnitLabel(name, unit)


def _row(analysis, pointID: str, record) -> dict:
    result, nan = record.result or {}, float("nan")
    place = analysis.pointRas(pointID) or lpsFromRas(result.get("point_lps") or (nan,) * 3)
    return {
        **result,
        **record.measures,
        "nodule_id": record.name,
        "interval": intervalText(result),
        "decision": (decisionOf(analysis, pointID, analysis.record(pointID)) or {}).get("decision"),
        "warnings": notesText(record),
        **dict(zip(("r_mm", "a_mm", "s_mm"), place, strict=True)),
        "model": result.get("model_id"),
    }


def _columns() -> dict:
    """{name: (title, unit, description)}; the unit of texts is None, of a number without one it is empty."""
    return {
        "nodule_id": (_("Nodule"), None, _("Name of the point")),
        "probability": (_("Probability"), "", _("Of the model's positive class, 0 to 1; its card says of what")),
        "interval": (_("Range"), None, _("Lowest and highest probability over the model's members")),
        "class": (_("Class"), None, _("At the model's balanced threshold")),
        "gate": (_("Gate"), None, _("Whether the input is as the model knows it: green, amber, red, or grey: unknown")),
        "warnings": (_("Notes"), None, _("What lies behind the gate, or why it was not scored")),
        "long_axis_mm": (_("Long axis"), "mm", _("Longest chord within one axial slice, voxel edges counted")),
        "short_axis_mm": (_("Short axis"), "mm", _("Longest chord across the long axis, on the same slice")),
        "mean_diameter_mm": (_("Mean diameter"), "mm", _("Half the sum of long and short axis")),
        "diameter_error_mm": (_("Error"), "mm", _("Two readers differ by less nine times in ten")),
        "volume_mm3": (_("Volume"), "mm3", _("Sum of the outline's voxels")),
        "mean_hu": (_("Attenuation"), "HU", _("Mean of the outline without its outermost millimeter")),
        "r_mm": (_("R"), "mm", _("Position of the point, towards the patient's right")),
        "a_mm": (_("A"), "mm", _("Position of the point, towards anterior")),
        "s_mm": (_("S"), "mm", _("Position of the point, towards superior")),
        "model": (_("Model"), None, _("Id of the model that scored")),
        "time": (_("Time"), None, _("When it was scored, in UTC")),
        "decision": (_("Decision"), None, _("What the reader decided on the number: accepted, corrected or rejected")),
    }
