"""XML from anywhere, read without what XML can do to its reader."""

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DTDForbidden
from defusedxml.ElementTree import fromstring
from MAEMCLib.errors import InputError

LARGEST_BYTES = 256 * 2**20


def read_xml(path: Path) -> Element:
    """The root element of a file.

    Entities that grow without end or reach for other files have to be declared in a document type (``<!DOCTYPE``);
    neither LIDC nor Slicer writes one, so a file with one is refused before any of it is used. Raises InputError: that,
    a file that cannot be read, is cut short, is no XML, or is larger than any of its kind.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path.name} is larger than {LARGEST_BYTES >> 20} MiB; no file of its kind is.", "xml")
        return fromstring(path.read_bytes(), forbid_dtd=True)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror}).", "unreadable") from error
    except DTDForbidden as error:
        raise InputError(
            f"{path.name} declares a document type (DOCTYPE), which may hide entities that harm; it is not read.",
            "xml-doctype",
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path.name} is cut short or no XML ({error}).", "unreadable") from error


def local_name(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]
