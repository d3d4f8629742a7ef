"""Every reader of outside data, in the order of the table."""

from .model_readers import MODELS
from .table_readers import TABLES
from .training_readers import TRAINING
from .volume_readers import VOLUMES

READERS = (*MODELS, *TABLES, *TRAINING, *VOLUMES)
