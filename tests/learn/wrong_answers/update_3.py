import torch

EXERCISE = "update"
WRONG = "The decay is always the largest one, also in the first steps."
NAMED = "The decay does not rise from a small one"
AT_FIRST_SIGHT = True
ROUND = 2


def update(self, model, step):
    for average, parameter in zip(self.model.parameters(), model.parameters(), strict=True):
        average.copy_(torch.lerp(parameter, average, self.decay))
    for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
        average.copy_(buffer)
