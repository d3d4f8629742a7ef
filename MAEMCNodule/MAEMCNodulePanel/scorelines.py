"""A line for each clinical score: its name and what it says, or why it says nothing; its source is the tool tip."""

import qt


class ScoreLines:
    """Pairs of labels in a grid, one pair a score. frame: an empty widget."""

    def __init__(self, frame) -> None:
        self._frame = frame
        self._grid = qt.QGridLayout(frame)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(0, 4)
        self._grid.setColumnStretch(1, 5)
        self._labels: dict = {}  # name of the score -> (QLabel, QLabel)

    def show(self, answers: dict) -> None:
        """answers: {name: ``together.Answer``}; a score without one has no line."""
        for name, answer in answers.items():
            title, text = self._labels.get(name) or self._make(name)
            variant = answer.result.variant if answer.result else None
            title.text = answer.score.title if variant in (None, "published") else f"{answer.score.title} {variant}"
            text.text = answer.text
            known = answer.result is not None and answer.result.applicable
            font = text.font
            font.setItalic(not known)
            text.font = font
            title.toolTip = text.toolTip = _hint(answer)
        for name, labels in self._labels.items():
            for label in labels:
                label.visible = name in answers

    def _make(self, name: str) -> tuple:
        row = len(self._labels)
        title, text = qt.QLabel(self._frame), qt.QLabel(self._frame)
        title.objectName, text.objectName = f"scoreTitle_{name}", f"scoreText_{name}"
        for label, column in ((title, 0), (text, 1)):
            label.textFormat = qt.Qt.PlainText
            label.alignment = qt.Qt.AlignLeft | qt.Qt.AlignTop
            label.wordWrap = True
            self._grid.addWidget(label, row, column)
        text.textInteractionFlags = qt.Qt.TextSelectableByMouse
        self._labels[name] = (title, text)
        return self._labels[name]


def _hint(answer) -> str:
    """Source, what is advised, how near the edge, and what a reader should know."""
    result = answer.result
    if result is None or not result.applicable:
        return answer.score.source
    edge = [f"Nearest other category: {result.edge.text}"] if result.edge else []
    return "\n".join([answer.score.source, result.recommendation, *edge, *result.notes])
