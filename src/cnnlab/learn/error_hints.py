"""What common exceptions mean, in words, beside Python's message."""

from __future__ import annotations

import re

from cnnlab.learn.verdict import Diagnosis

# Pattern of an exception, and what it means.
_HINTS = (
    (
        r"non-broadcastable output operand",
        "The array on the left of += or -= has too few axes or numbers for the right.",
    ),
    (r"cannot reshape array|shape .* is invalid for input", "A reshape must keep the number of values."),
    (
        r"out of bounds|index out of range",
        "An index goes past the end: look at the limits of the loops, and at range().",
    ),
    (
        r"truth value of an array",
        "if needs one True or False: use np.where or a mask for arrays, or .any() and .all().",
    ),
    (r"NoneType", "Something is None: a function without return, or a method that works in place?"),
    (r"values to unpack", "The number of names on the left of = is not the number of values on the right."),
    (r"referenced before assignment|not associated with a value", "A variable is used before it has a value."),
    (r"only integer|interpreted as an integer", "An index or size is not a whole number: / gives floats, // integers."),
)


def describe_error(error: BaseException) -> Diagnosis | None:
    """Explain an exception about arrays whose shapes do not fit, or another common one, or return ``None``."""
    message = " ".join(str(error).split())
    if match := re.search(r"could not be broadcast together with shapes \((.*?)\) \((.*?)\)", message):
        first, second = (shape.replace(" ", "").rstrip(",") for shape in match.groups())
        shapes = " and ".join(f"({shape})" if "," in shape else f"({shape},)" for shape in (first, second))
        sentence = f"Arrays of the shapes {shapes} are combined number by number, and do not fit."
        if "," not in first and "," not in second:
            sentence += " For every pair of their numbers, make one of them a column: a[:, np.newaxis] + b."
        elif "," not in first or "," not in second:
            sentence += " A number per row must be a column: b[:, np.newaxis], or a sum with keepdims=True."
        return Diagnosis("shapes", sentence)
    if re.search(r"matmul: Input operand|shapes .* not aligned|mat1 and mat2 shapes cannot be multiplied", message):
        sizes = re.search(r"size (\d+) is different from (\d+)", message)
        sides = f" ({sizes[2]} columns meet {sizes[1]} rows)" if sizes else ""
        return Diagnosis(
            "shapes", f"Two matrices do not fit for a product{sides}: is a transpose missing, or the order?"
        )
    if "does not require grad and does not have a grad_fn" in message:
        sentence = (
            "A result has no connection to what it was computed from, so that it has no gradient: was it detached, "
        )
        sentence += "made into a number or a new tensor, or is create_graph=True missing in torch.autograd.grad?"
        return Diagnosis("detached", sentence)
    for pattern, hint in _HINTS:
        if re.search(pattern, f"{type(error).__name__}: {message}"):
            return Diagnosis("error", hint)
    return None
