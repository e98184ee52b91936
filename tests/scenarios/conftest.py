"""What scenarios share with the tests of single packages."""

from tests.cli.conftest import compare as compare
from tests.runs.conftest import eventually as eventually
from tests.runs.conftest import program as program
from tests.runs.conftest import run as run
from tests.runs.conftest import runs_dir as runs_dir
from tests.training.conftest import digits as digits
from tests.training.conftest import digits_folder as digits_folder
from tests.training.conftest import placement as placement
from tests.training.conftest import recipe as recipe
