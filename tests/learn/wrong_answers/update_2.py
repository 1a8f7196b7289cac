EXERCISE = "update"
WRONG = "The buffers are left out."
NAMED = "The buffers are not copied"
AT_FIRST_SIGHT = True


def update(self, model, step):
    decay = min(self.decay, (1 + step) / (10 + step))
    for average, parameter in zip(self.model.parameters(), model.parameters(), strict=True):
        average.copy_(decay * average + (1 - decay) * parameter)
