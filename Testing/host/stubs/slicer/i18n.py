"""slicer.i18n: translation; here every text stays as it is written."""


def tr(text):
    """Return ``text`` in the user's language (here: as it is)."""
    if not isinstance(text, str):
        raise TypeError(f"only text can be translated, not {type(text).__name__}")
    return text


def translate(context, text):
    """Return ``text`` of a context such as ``qSlicerAbstractCoreModule`` in the user's language (here: as it is)."""
    if not isinstance(context, str):
        raise TypeError("the context of a translation is a text")
    return tr(text)


def getContext(sourceFile):
    """The translation context of a source file: its name."""
    import os

    return os.path.splitext(os.path.basename(sourceFile))[0]
