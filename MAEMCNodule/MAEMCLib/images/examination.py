"""What links a volume to others of its patient, and identifies nobody."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Examination:
    """Whose volume it is, in which frame of reference, from which day: to be compared, never to be written or shown.

    patient, frame: hashes of PatientID and FrameOfReferenceUID, "" where the file does not say. day: a count of days of
    which only differences mean something, None where the date is not known. No text of a volume holds them.
    """

    patient: str = field(default="", repr=False)
    frame: str = field(default="", repr=False)
    day: int | None = field(default=None, repr=False)

    def of_same_patient(self, other: Examination) -> bool | None:
        """None where one of the two does not say."""
        return self.patient == other.patient if self.patient and other.patient else None

    def shares_frame(self, other: Examination) -> bool:
        """Whether positions in both are comparable as they are: one frame of reference, and not of two patients."""
        return bool(self.frame) and self.frame == other.frame and self.of_same_patient(other) is not False

    def days_until(self, later: Examination) -> int | None:
        """Days from this examination to a later one, negative where that one is earlier; None where a date is not
        known."""
        return None if self.day is None or later.day is None else later.day - self.day
