"""Assignment 3, question 4: style transfer, with the architecture of SqueezeNet 1.1 and random weights."""

import numpy as np
import torch
from cs231n.image_utils import SQUEEZENET_MEAN, SQUEEZENET_STD
from cs231n.style_transfer_pytorch import *
from PIL import Image

import cnnlab

torch.manual_seed(0)
dtype = torch.FloatTensor
cnn = cnnlab.create_model("squeezenet1_1").features
cnn.type(dtype)
for param in cnn.parameters():
    param.requires_grad = False
assert len(SQUEEZENET_MEAN) == len(SQUEEZENET_STD) == 3

rng = np.random.default_rng(0)
for name in ("content.jpg", "style.jpg"):
    Image.fromarray(rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)).save(name)

content_img_feats, content_img_var = features_from_img("content.jpg", 64, cnn)
style_img_feats, style_img_var = features_from_img("style.jpg", 64, cnn)
student = content_loss(6e-2, content_img_feats[2], style_img_feats[2]).item()
assert abs(student - 6e-2 * ((content_img_feats[2] - style_img_feats[2]) ** 2).sum().item()) < 1e-3 * student
gram = gram_matrix(style_img_feats[5].clone()).numpy()
assert gram.shape == (1, 128, 128)
style_layers, style_weights = [1, 4, 6, 7], [300000, 1000, 15, 3]
style_targets = [gram_matrix(style_img_feats[idx].clone()) for idx in style_layers]
assert style_loss(style_img_feats, style_layers, style_targets, style_weights).item() < 1e-6
assert style_loss(content_img_feats, style_layers, style_targets, style_weights).item() > 0
assert tv_loss(content_img_var, 2e-2).item() > 0


def style_transfer(content_image, style_image, image_size, style_size, content_layer, content_weight, tv_weight):
    content_img = preprocess(Image.open(content_image), size=image_size).type(dtype)
    content_target = extract_features(content_img, cnn)[content_layer].clone()
    style_img = preprocess(Image.open(style_image), size=style_size).type(dtype)
    targets = [gram_matrix(extract_features(style_img, cnn)[idx]) for idx in style_layers]
    img = content_img.clone().type(dtype).requires_grad_()
    optimizer = torch.optim.Adam([img], lr=3.0)
    losses = []
    for _ in range(3):
        img.data.clamp_(-1.5, 1.5)
        optimizer.zero_grad()
        feats = extract_features(img, cnn)
        loss = (
            content_loss(content_weight, feats[content_layer], content_target)
            + style_loss(feats, style_layers, targets, style_weights)
            + tv_loss(img, tv_weight)
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return deprocess(img.data.cpu()), losses


picture, losses = style_transfer("content.jpg", "style.jpg", 48, 64, 3, 5e-2, 5e-2)
print(losses)
assert picture.size == (60, 48)
assert np.isfinite(losses).all()
