"""What the commands do, as functions: the public API of `tleg`, and what the command line calls.

A learngene, a model or a run is named as on the command line (`tleg.references`); a run that is not finished stands for its
last checkpoint. All errors are `tleg.TlegError`s, in one sentence. Importing this needs neither numpy nor torch.
"""

from tleg.api.compression import compress as compress
from tleg.api.compression import run_compress as run_compress
from tleg.api.exports import build as build
from tleg.api.exports import verify as verify
from tleg.api.families import build_family as build_family
from tleg.api.layers import analyze as analyze
from tleg.api.layers import fit as fit
from tleg.api.layers import run_analysis as run_analysis
from tleg.api.layers import run_fit as run_fit
from tleg.api.learngenes import expand as expand
from tleg.api.learngenes import load as load
from tleg.api.learngenes import preview as preview
from tleg.api.learngenes import read_header as read_header
from tleg.api.measuring import benchmark as benchmark
from tleg.api.measuring import evaluate as evaluate
from tleg.api.measuring import predict as predict
from tleg.api.measuring import prepare_evaluation as prepare_evaluation
from tleg.api.measuring import prepare_prediction as prepare_prediction
from tleg.api.measuring import probe as probe
from tleg.api.names import ImageSize as ImageSize
from tleg.api.names import Name as Name
from tleg.api.names import path_of as path_of
from tleg.api.studies import compare_runs as compare_runs
from tleg.api.studies import run_study as run_study
from tleg.api.trust import calibrate as calibrate
from tleg.api.trust import choose_cascade as choose_cascade
