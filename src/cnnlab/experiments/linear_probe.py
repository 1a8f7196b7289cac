"""A linear classifier on the features of a frozen network, as it is used to judge features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cnnlab.data import Loader, Split
from cnnlab.training import Session
from cnnlab.training.evaluation import evaluate
from cnnlab.training.feature_cache import Body

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

BATCH = 16  # images of a pass: few, for large photos take much memory


def frozen_features(session: Session, split: Split) -> tuple[Floats, Labels]:
    """Return the features (N, F) that reach the last layer of the network in eval mode, and the labels (N,).

    Args:
        session: the session of the network.
        split: the N images.
    """
    loader = Loader(
        split, session.preprocess, BATCH, device=session.device, channels_last=session.precision.channels_last
    )
    features, labels = evaluate(Body(session.model), loader, session.device, session.precision)
    return features.reshape(len(labels), -1).astype(np.float64), labels


def linear_answers(features: Floats, labels: Labels, test_features: Floats) -> Labels:
    """Return the classes (M,) that a linear classifier gives the test features.

    It is softmax regression on features of mean 0 and variance 1 over the training images, with scikit-learn's usual
    penalty on the squared weights (C = 1), trained to the end by L-BFGS: nothing is chosen and nothing is random.

    Args:
        features: features of the training images, (N, F).
        labels: their classes, (N,).
        test_features: features of the test images, (M, F).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    answers: Labels = classifier.fit(features, labels).predict(test_features)
    return answers
