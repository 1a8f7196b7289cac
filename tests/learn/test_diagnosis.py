"""Wrong answers in words: of the exercise, of any exercise, several at once, and answers that are no answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cnnlab.learn import check_answer, get_exercise
from cnnlab.learn.error_hints import describe_error
from cnnlab.learn.verdict import Verdict

Arrays = tuple[Any, ...]


def affine_backward_as(change: Callable[..., Any]) -> Verdict:
    """Check an affine_backward whose right results go through ``change``."""

    def affine_backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        dx = (dout @ w.T).reshape(x.shape)
        return change(dx, x.reshape(len(x), -1).T @ dout, dout.sum(axis=0))

    return check_answer(affine_backward, get_exercise("affine_backward"))


def test_a_right_answer_passes_in_float32_too() -> None:
    assert affine_backward_as(lambda dx, dw, db: (dx, dw, db)).passed
    assert affine_backward_as(lambda *all_three: tuple(each.astype(np.float32) for each in all_three)).passed


def test_a_mistake_written_in_another_way_is_named() -> None:
    def affine_backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        db = np.array([np.sum(row) for row in dout])
        return np.dot(dout, w.T).reshape(*x.shape), np.dot(x.reshape(x.shape[0], -1).T, dout), db

    verdict = check_answer(affine_backward, get_exercise("affine_backward"))
    assert [each.name for each in verdict.diagnoses] == ["bias_over_features"]
    assert "axis 0" in str(verdict)


def test_a_wrong_shape_that_only_one_typical_mistake_gives_is_named_for_it() -> None:
    def im2col(x: Any, HH: int, WW: int, stride: int, pad: int) -> Any:
        """Return one matrix for all images, in which the images of a position stand next to each other."""
        columns = get_exercise("im2col").solution(x, HH, WW, stride, pad)
        return columns.transpose(1, 2, 0).reshape(columns.shape[1], -1)

    (diagnosis,) = check_answer(im2col, get_exercise("im2col")).diagnoses
    assert diagnosis.sentence.startswith("columns has the shape that this mistake gives: The images stand side by side")
    assert (diagnosis.kind, diagnosis.name) == ("near", "images_in_one_matrix")


def test_wrong_single_numbers_are_listed_beside_the_right_ones() -> None:
    def receptive_field(layers: Any) -> Any:
        return int(np.prod([window for window, _, _ in layers])), int(np.prod([stride for _, stride, _ in layers]))

    (diagnosis,) = check_answer(receptive_field, get_exercise("receptive_field")).diagnoses
    # 3 + 2; 3 + 1 + 2 * 4; 7 + 2 * 2 + 4 * 2 + 4 * 2; 1 + 2 * 4 + 2 + 3 * 4 * 2
    assert diagnosis.sentence == "size is 9, 30, 189, 45 in the cases one by one, expected 5, 12, 27, 35."


def test_two_mistakes_in_two_outputs_are_both_named() -> None:
    verdict = affine_backward_as(lambda dx, dw, db: (dx, dw.T, db / len(dx)))
    assert [(each.output, each.name) for each in verdict.diagnoses] == [("dw", "dw_transposed"), ("db", "bias_mean")]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda dx, dw, db: (-dx, dw, db), "sign", "dx has the wrong sign"),
        (lambda dx, dw, db: (2 * dx, dw, db), "factor", "2 times"),
        (lambda dx, dw, db: (dx * len(dx), dw, db), "factor", "dout.shape[0]"),
        (lambda dx, dw, db: (dx, dw, db / len(db)), "factor", "too small by the factor dout.shape[1]"),
        (lambda dx, dw, db: (0 * dx, dw, db), "zeros", "zero everywhere"),
        (lambda dx, dw, db: (dx + 1, dw, db), "offset", "the same number everywhere"),
        (lambda dx, dw, db: (dx, dw[::-1], db), "flipped", "reversed along axis 0"),
        (lambda dx, dw, db: (dx * np.nan, dw, db), "nan", "NaN"),
        (lambda dx, dw, db: (dx, dw, db[:, None]), "reshape", "only a reshape"),
        (lambda dx, dw, db: (dx, dw, 0 * db + db.sum()), "constant", "along axis 0: the sum of the right numbers"),
        (lambda dx, dw, db: (dx, 0 * dw + dw[:1], db), "constant", "along axis 0, and the right numbers differ"),
        (lambda dx, dw, db: (dx / np.log(2), dw, db), "factor", "logarithm of base 2"),
        (lambda dx, dw, db: (dx, dw, db.astype(int)), "function", "whole numbers"),
        (lambda dx, dw, db: (dx, dw * (1 + 1e-4 * np.sign(dw) * (dw > 0.5)), db), "some_entries", "positive"),
    ],
)  # fmt: skip
def test_patterns_of_any_exercise(change: Callable[..., Arrays], kind: str, words: str) -> None:
    verdict = affine_backward_as(change)
    assert [each.kind for each in verdict.diagnoses] == [kind]
    assert words in verdict.diagnoses[0].sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda dx, dw, db: None, "returned None"),
        (lambda dx, dw, db: (dx, dw), "2 values, but 3 values are expected: dx, dw, db"),
        (lambda dx, dw, db: dx, "returned one ndarray"),
        (lambda dx, dw, db: (dx, "dw", db), "dw is a str"),
        (lambda dx, dw, db: (dx, dw, None), "db is None"),
    ],
)
def test_answers_of_the_wrong_kind(change: Callable[..., Any], words: str) -> None:
    verdict = affine_backward_as(change)
    assert verdict.status == "wrong"
    assert words in verdict.message


def test_an_exception_shows_the_line_of_the_student() -> None:
    def affine_backward(dout: Any, cache: Any) -> Any:
        return dout.reshape(7, 7)

    verdict = check_answer(affine_backward, get_exercise("affine_backward"))
    assert verdict.status == "error"
    assert "ValueError: cannot reshape array of size 15 into shape (7,7)" in verdict.message
    assert "This happens for dout (3, 5)." in verdict.message
    assert verdict.code == "return dout.reshape(7, 7)"
    assert [each.sentence for each in verdict.diagnoses] == ["A reshape must keep the number of values."]


def wrong_sum(pair: Callable[[Any, Any], Any]) -> Verdict:
    """Check distances whose squares of both sides are added in a certain way."""

    def compute_distances_no_loop(self: Any, X: Any) -> Any:
        return np.sqrt(pair((X**2).sum(axis=1), (self.X_**2).sum(axis=1)) - 2 * X @ self.X_.T)

    return check_answer(compute_distances_no_loop, get_exercise("compute_distances_no_loop"))


def test_arrays_that_do_not_fit_are_explained() -> None:
    assert wrong_sum(lambda a, b: a[:, None] + b).passed
    (diagnosis,) = wrong_sum(lambda a, b: a + b).diagnoses
    assert diagnosis.kind == "shapes"
    assert "make one of them a column: a[:, np.newaxis] + b" in diagnosis.sentence
    assert describe_error(ValueError("something else")) is None


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda: np.ones((2, 3)) + np.ones(2), "(2,3) and (2,)"),
        (lambda: np.ones((2, 3)) + np.ones(2), "A number per row must be a column"),
        (lambda: np.ones((2, 3)) @ np.ones((2, 4)), "3 columns meet 2 rows"),
        (lambda: torch.ones(2, 3) @ torch.ones(2, 4), "do not fit for a product"),
        (lambda: torch.autograd.grad(torch.ones(()), torch.ones(1)), "no connection to what it was computed from"),
    ],
)
def test_exceptions_of_numpy_and_torch_in_words(compute: Callable[[], Any], words: str) -> None:
    with pytest.raises((ValueError, RuntimeError)) as caught:
        compute()
    diagnosis = describe_error(caught.value)
    assert diagnosis is not None
    assert words in diagnosis.sentence


def test_a_setting_that_is_missing_as_a_factor_is_named() -> None:
    def output_size(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> float:
        return ((size + 2 * pad - dilation * (window - 1) - 1) // stride + 1) * stride

    (diagnosis,) = check_answer(output_size, get_exercise("output_size")).diagnoses
    assert diagnosis.sentence == "size is multiplied with stride once too often."


def test_the_words_of_a_mistake_are_not_used_where_it_spoils_more_than_the_answer() -> None:
    def temporal_softmax_loss(x: Any, y: Any, mask: Any) -> Any:
        loss, gradient = get_exercise("temporal_softmax_loss").solution(x, y, mask)
        return len(x) * loss, gradient

    (diagnosis,) = check_answer(temporal_softmax_loss, get_exercise("temporal_softmax_loss")).diagnoses
    assert diagnosis.sentence.startswith("loss is too large by the factor x.shape[0]")


def test_a_mistake_in_most_cases_or_with_another_sign_is_named() -> None:
    def batchnorm_backward(dout: Any, cache: Any) -> Any:
        x_hat, inv_std, gamma, _ = cache  # the mode is forgotten too, so that the test mode is wrong in another way
        dx_hat = dout * gamma
        return inv_std * (dx_hat - dx_hat.mean(axis=0)), (dout * x_hat).sum(axis=0), dout.sum(axis=0)

    def relu_forward(x: Any) -> Any:
        return -np.abs(x), x

    (first,) = check_answer(batchnorm_backward, get_exercise("batchnorm_backward")).diagnoses[:1]
    assert first.name == "without_variance"
    (second,) = check_answer(relu_forward, get_exercise("relu_forward")).diagnoses
    assert second.name == "absolute"
    assert "with the opposite sign" in second.sentence


def test_an_argument_that_is_added_too_often_is_named() -> None:
    def conv_forward_naive(x: Any, w: Any, b: Any, conv_param: Any) -> Any:
        return get_exercise("conv_forward_naive").solution(x, w, 2 * b, conv_param)

    (diagnosis,) = check_answer(conv_forward_naive, get_exercise("conv_forward_naive")).diagnoses
    assert diagnosis.sentence.startswith("b is added to out 2, 2, 2 times")


def test_an_exception_of_a_typical_mistake_is_explained() -> None:
    def affine_backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        dx = np.dot(dout, w).reshape(x.shape)
        return dx, x.reshape(len(x), -1).T @ dout, dout.sum(axis=0)

    verdict = check_answer(affine_backward, get_exercise("affine_backward"))
    assert [each.name for each in verdict.diagnoses] == ["w_not_transposed"]
    assert verdict.code == "dx = np.dot(dout, w).reshape(x.shape)"


def test_a_nearly_typical_mistake_is_named_as_near() -> None:
    noise = np.random.default_rng(0)

    def affine_forward(x: Any, w: Any, b: Any) -> Any:
        out = x.reshape(len(x), -1) @ w
        return out + 1e-3 * noise.normal(size=out.shape), None

    verdict = check_answer(affine_forward, get_exercise("affine_forward"))
    assert (verdict.diagnoses[0].kind, verdict.diagnoses[0].name) == ("near", "without_bias")


def test_a_changed_argument_is_reported() -> None:
    def affine_backward(dout: Any, cache: Any) -> Any:
        x, w = cache
        result = (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(axis=0)
        dout *= 0
        return result

    verdict = check_answer(affine_backward, get_exercise("affine_backward"))
    assert [each.kind for each in verdict.diagnoses] == ["argument_changed"]
    assert "dout.copy()" in str(verdict)


def test_a_verdict_survives_json() -> None:
    import json

    verdict = affine_backward_as(lambda dx, dw, db: (-dx, dw, db))
    again = Verdict.from_dict(json.loads(json.dumps(verdict.as_dict())))
    assert str(again) == str(verdict)
    assert again.comparison is not None
    assert verdict.comparison is not None
    np.testing.assert_array_equal(again.comparison.got, -again.comparison.expected)


def test_a_mask_is_diagnosed_as_the_numbers_that_it_is() -> None:
    def dropout_forward(x: Any, dropout_param: Any) -> Any:
        return x > 2, None

    def relu_backward(dout: Any, cache: Any) -> Any:
        return cache >= 0

    def relu_backward_of_numbers(dout: Any, cache: Any) -> Any:
        return (cache >= 0).astype(float)

    assert "out is" in str(check_answer(dropout_forward, get_exercise("dropout_forward")))
    mask, numbers = (
        check_answer(each, get_exercise("relu_backward")) for each in (relu_backward, relu_backward_of_numbers)
    )
    assert mask.status == numbers.status == "wrong"
    assert mask.diagnoses == numbers.diagnoses


@pytest.mark.parametrize("shape", [(0,), (1, 0)])
def test_an_empty_result_is_shown(shape: tuple[int, ...]) -> None:
    def relu_forward(x: Any) -> Any:
        return np.zeros(shape), x

    verdict = check_answer(relu_forward, get_exercise("relu_forward"))
    assert f"  got {shape}" in str(verdict)
    assert "got" in verdict._repr_html_()


def test_nan_in_one_case_is_said_and_no_small_difference() -> None:
    verdict = affine_backward_as(lambda dx, dw, db: (dx * np.nan if len(dx) == 1 else dx, dw, db))
    causes = "a division by zero, the log of 0, or an overflow of exp?"
    assert [each.sentence for each in verdict.diagnoses] == [f"dx is NaN in 1 of 4 cases (one input): {causes}"]
    verdict = affine_backward_as(lambda dx, dw, db: (dx, dw, np.where(len(dx) == 5, np.inf, db)))
    assert [each.sentence for each in verdict.diagnoses] == [f"db is infinite in 1 of 4 cases: {causes}"]
