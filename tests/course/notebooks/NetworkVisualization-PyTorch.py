"""Assignment 3, question 3: saliency maps, fooling images, class visualisation.

The notebook's network is torchvision's SqueezeNet 1.1; here it is a small one with random weights.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from cs231n.data_utils import load_imagenet_val
from cs231n.image_utils import SQUEEZENET_MEAN, SQUEEZENET_STD
from cs231n.net_visualization_pytorch import *
from PIL import Image
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 16, 7, stride=8), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 100)
)
for param in model.parameters():
    param.requires_grad = False

X, y, class_names = load_imagenet_val(num=2)
for i in range(2):
    plt.subplot(1, 2, i + 1)
    plt.imshow(X[i])
    plt.title(class_names[y[i]])
plt.gcf().tight_layout()
X_tensor = torch.cat([preprocess(Image.fromarray(x)) for x in X], dim=0)
y_tensor = torch.LongTensor(y) % 100
assert X_tensor.shape == (2, 3, 224, 224)
by_hand = (X[0, 5, 6] / 255 - SQUEEZENET_MEAN) / SQUEEZENET_STD
assert np.allclose(X_tensor[0, :, 5, 6], by_hand, atol=1e-5)
s = model(X_tensor).gather(1, y_tensor.view(-1, 1)).squeeze()
assert s.shape == (2,)

saliency = compute_saliency_maps(X_tensor, y_tensor, model).numpy()
assert saliency.shape == (2, 224, 224)
assert saliency.min() >= 0
plt.imshow(saliency[0], cmap=plt.cm.hot)

target_y = 6
X_fooling = make_fooling_image(X_tensor[0:1], target_y, model)
scores = model(X_fooling)
assert target_y == scores.data.max(1)[1][0].item(), "The model is not fooled!"
diff = np.asarray(deprocess(10 * (X_fooling - X_tensor[0:1]), should_rescale=False))
assert diff.shape == (224, 224, 3)

out = create_class_visualization(76, model, torch.FloatTensor, num_iterations=2, show_every=1)
assert np.asarray(out).shape == (224, 224, 3)
img = torch.randn(1, 3, 224, 224).requires_grad_()
img.data.copy_(jitter(img.data, 3, 5))
before = model(img)[0, 76].item()
class_visualization_update_step(img, model, 76, 1e-3, 25)
assert model(img)[0, 76].item() > before
blur_image(img.data, sigma=0.5)
plt.close("all")
