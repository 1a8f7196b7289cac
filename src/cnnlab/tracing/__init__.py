"""The analysis of a network by recording it: forward passes, layer outputs, receptive fields, layers, summaries."""

from cnnlab.tracing.forward_pass import Inputs, Passes, trace
from cnnlab.tracing.hooks import (
    Recording,
    evaluating,
    find_layer,
    recording,
    recording_inputs,
    replacing_output,
    untouched,
)
from cnnlab.tracing.layers import Layer
from cnnlab.tracing.receptive_field import ReceptiveField, receptive_fields
from cnnlab.tracing.record import Call, Op, Trace, Value
from cnnlab.tracing.recorder import Observer
from cnnlab.tracing.stages import Stage
from cnnlab.tracing.summary import Summary, summarise
from cnnlab.tracing.target_layer import Layers, list_layers

__all__ = [
    "Call",
    "Inputs",
    "Layer",
    "Layers",
    "Observer",
    "Op",
    "Passes",
    "ReceptiveField",
    "Recording",
    "Stage",
    "Summary",
    "Trace",
    "Value",
    "evaluating",
    "find_layer",
    "list_layers",
    "receptive_fields",
    "recording",
    "recording_inputs",
    "replacing_output",
    "summarise",
    "trace",
    "untouched",
]
