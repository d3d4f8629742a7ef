"""qMRMLUtils: images between VTK and Qt."""

import numpy as np
from PySide6 import QtGui


class qMRMLUtils:
    """Static conversions, as scripts use them: ``slicer.qMRMLUtils().vtkImageDataToQImage(image, qimage)``."""

    @staticmethod
    def vtkImageDataToQImage(image, qimage) -> bool:
        """Fill ``qimage`` from a 2-D uint8 ``vtkImageData`` with 1, 3 or 4 components (first row at the bottom)."""
        from vtk.util.numpy_support import vtk_to_numpy

        columns, rows, _ = image.GetDimensions()
        scalars = image.GetPointData().GetScalars()
        if scalars is None or scalars.GetDataTypeSize() != 1 or columns * rows == 0:
            return False
        array = vtk_to_numpy(scalars).reshape(rows, columns, -1)[::-1]
        if array.shape[2] == 1:
            array = np.repeat(array, 3, axis=2)
        has_alpha = array.shape[2] == 4
        array = np.ascontiguousarray(array)
        kind = QtGui.QImage.Format.Format_RGBA8888 if has_alpha else QtGui.QImage.Format.Format_RGB888
        made = QtGui.QImage(array.data, columns, rows, columns * array.shape[2], kind).copy()
        qimage.swap(made)
        return True

    @staticmethod
    def qImageToVtkImageData(qimage, image) -> bool:
        """Fill a ``vtkImageData`` (RGBA, uint8) from ``qimage``."""
        import vtk
        from vtk.util.numpy_support import numpy_to_vtk

        converted = qimage.convertToFormat(QtGui.QImage.Format.Format_RGBA8888)
        columns, rows = converted.width(), converted.height()
        array = np.frombuffer(converted.constBits(), np.uint8).reshape(rows, converted.bytesPerLine())
        array = array[::-1, : 4 * columns].reshape(rows * columns, 4)
        image.SetDimensions(columns, rows, 1)
        scalars = numpy_to_vtk(np.ascontiguousarray(array), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
        image.GetPointData().SetScalars(scalars)
        return True
