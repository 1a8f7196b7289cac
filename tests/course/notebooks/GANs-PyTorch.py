"""Assignment 3, question 5: generative adversarial networks, on noise in place of MNIST."""

import numpy as np
import torch
from cs231n.gan_pytorch import *
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

dtype = torch.FloatTensor
batch_size, noise_size = 16, 96
torch.manual_seed(0)
images = TensorDataset(torch.rand(64, 1, 28, 28), torch.zeros(64))
loader_train = DataLoader(images, batch_size=batch_size, sampler=ChunkSampler(48, 0))
loader_val = DataLoader(images, batch_size=batch_size, sampler=ChunkSampler(16, 48))
assert len(next(iter(loader_val))[0]) == 16

z = sample_noise(3, 4)
assert list(z.shape) == [3, 4] and torch.is_tensor(z) and torch.all(z >= -1.0) and torch.all(z <= 1.0)
assert count_params(discriminator()) == 267009
assert count_params(generator(4)) == 1858320
logits = torch.randn(20)
assert np.isclose(bce_loss(logits, torch.ones(20)).item(), -torch.log(torch.sigmoid(logits)).mean().item(), atol=1e-6)

for D_loss, G_loss in ((discriminator_loss, generator_loss), (ls_discriminator_loss, ls_generator_loss)):
    D, G = discriminator().type(dtype), generator().type(dtype)
    D_solver, G_solver = get_optimizer(D), get_optimizer(G)
    out = run_a_gan(D, G, D_solver, G_solver, D_loss, G_loss, loader_train, show_every=2, batch_size=16, num_epochs=2)
    assert [image.shape for image in out] == [(16, 784)] * 3

data = next(enumerate(loader_train))[-1][0].type(dtype)
b = build_dc_classifier(batch_size).type(dtype)
assert b(data).size() == (16, 1)
assert count_params(build_dc_classifier(batch_size)) == 1102721
test_g_gan = build_dc_generator().type(dtype)
test_g_gan.apply(initialize_weights)
assert test_g_gan(torch.randn(batch_size, noise_size).type(dtype)).size() == (16, 784)
assert count_params(build_dc_generator(4)) == 6580801
D_DC, G_DC = build_dc_classifier(batch_size).type(dtype), build_dc_generator().type(dtype)
D_DC.apply(initialize_weights)
G_DC.apply(initialize_weights)
out = run_a_gan(
    D_DC, G_DC, get_optimizer(D_DC), get_optimizer(G_DC), discriminator_loss, generator_loss, loader_train,
    batch_size=16, num_epochs=1,
)  # fmt: skip
assert np.isfinite(out[0]).all()
assert isinstance(nn.Sequential(Flatten(), nn.Linear(4, 2), Unflatten(-1, 2, 1, 1)), nn.Module)
