EXERCISE = "update"
WRONG = "The decay weighs the new parameters instead of the average."
NAMED = "decay and 1 - decay are swapped"
AT_FIRST_SIGHT = True


def update(self, model, step):
    decay = min(self.decay, (1 + step) / (10 + step))
    for average, parameter in zip(self.model.parameters(), model.parameters(), strict=True):
        average.mul_(1 - decay).add_(parameter, alpha=decay)
    for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
        average.copy_(buffer)
