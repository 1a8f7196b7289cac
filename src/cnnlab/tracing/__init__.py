"""What a network does with its input, without looking at values: the record of a pass, and what each tensor sees."""

from cnnlab.tracing._receptive import ReceptiveField, op_arguments, receptive_fields
from cnnlab.tracing._trace import Call, Inputs, Op, Trace, Value, trace

__all__ = ["Call", "Inputs", "Op", "ReceptiveField", "Trace", "Value", "op_arguments", "receptive_fields", "trace"]
