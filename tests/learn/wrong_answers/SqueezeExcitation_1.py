import torch

EXERCISE = "SqueezeExcitation"
WRONG = "The gate is added to the channels instead of multiplied with them."
NAMED = "The gates are added to x"
AT_FIRST_SIGHT = True


class SqueezeExcitation(torch.nn.Module):
    def __init__(self, channels, squeezed=None):
        super().__init__()
        squeezed = squeezed or max(8, channels // 16)
        self.fc1 = torch.nn.Conv2d(channels, squeezed, 1)
        self.fc2 = torch.nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        gate = x.mean(dim=(2, 3), keepdim=True)
        gate = torch.sigmoid(self.fc2(torch.relu(self.fc1(gate))))
        return x + gate
