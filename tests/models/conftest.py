"""Real images for models: the digits that the tests of training use."""

from tests.training.conftest import digits as digits
from tests.training.conftest import digits_folder as digits_folder
from tests.training.conftest import placement as placement
from tests.training.conftest import recipe as recipe
