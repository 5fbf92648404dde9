from .collect import Percentiles as Percentiles
from .planning import plan as plan
from .run import PartResult as PartResult
from .run import Plan as Plan
from .run import Run as Run
from .status import Status as Status
from .storage import StorageError as StorageError
