"""Why a model says what it says: reconstruction, attention, Grad-CAM, sanity checks."""
