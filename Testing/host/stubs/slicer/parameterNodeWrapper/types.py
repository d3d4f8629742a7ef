"""What the annotation of a parameter says: its type, its extra annotations, its default."""

import typing


class Default:
    """Annotation for the default value of a parameter, or a function that makes it."""

    def __init__(self, value=None, *, generator=None):
        self._value, self._generator = value, generator

    @property
    def value(self):
        return self._generator() if self._generator else self._value


def splitAnnotations(datatype):
    """``Annotated[T, a, b]`` -> (T, (a, b)); any other type -> (type, ())."""
    if typing.get_origin(datatype) is typing.Annotated:
        return datatype.__origin__, tuple(datatype.__metadata__)
    return datatype, ()


def unannotatedType(datatype):
    return splitAnnotations(datatype)[0]


def findFirstAnnotation(annotations, kind):
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)


def isNode(datatype) -> bool:
    import slicer

    return isinstance(datatype, type) and issubclass(datatype, slicer.vtkMRMLNode)


def isNodeOrUnionOfNodes(datatype) -> bool:
    """A node class, or ``Union`` / ``Optional`` of node classes (``A | None`` is unknown to Slicer here)."""
    datatype = unannotatedType(datatype)
    if isNode(datatype):
        return True
    if typing.get_origin(datatype) is not typing.Union:
        return False
    parts = [unannotatedType(part) for part in typing.get_args(datatype)]
    return all(isNode(part) or part is type(None) for part in parts)


def getNodeTypes(datatype) -> tuple[str, ...]:
    datatype = unannotatedType(datatype)
    parts = (datatype,) if isNode(datatype) else typing.get_args(datatype)
    nodes = [unannotatedType(part) for part in parts if isNode(unannotatedType(part))]
    return tuple(node().GetClassName() for node in nodes)
