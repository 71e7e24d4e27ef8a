"""Measures of generated data. Every number carries its provenance; incompatible numbers do not compare."""

from gencore.evaluation.evaluating import Options as Options
from gencore.evaluation.extractors import Extractor as Extractor
from gencore.evaluation.extractors import from_module as from_module
from gencore.evaluation.features import DigitClassifier as DigitClassifier
from gencore.evaluation.features import train_classifier as train_classifier
from gencore.evaluation.figures import evaluate as evaluate
from gencore.evaluation.frechet import Metric as Metric
from gencore.evaluation.frechet import Statistics as Statistics
from gencore.evaluation.frechet import frechet_distance as frechet_distance
from gencore.evaluation.frechet import frechet_metric as frechet_metric
from gencore.evaluation.frechet import statistics as statistics
from gencore.evaluation.reports import Report as Report
from gencore.evaluation.reports import compare as compare
