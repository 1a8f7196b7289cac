"""The words of the microscope: a sentence, the idea, the formula and a lesson for every view and kind of node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The lessons that the words name, with their titles; they are files in the folder `lessons` of the project.
LESSONS = {
    "02_linear_classifiers": "Linear classifiers",
    "05_batch_normalisation": "Batch normalisation",
    "06_dropout": "Dropout",
    "07_update_rules": "Update rules",
    "08_convolution": "Convolution by hand",
    "09_fully_connected": "Fully connected nets, put together",
    "11_deeper_convnet": "A deeper convolutional network",
    "13_looking_inside": "Looking inside a trained network",
    "15_gans": "GANs: a network that makes images",
    "16_captions_torch": "Captions with torch: a recurrent network that looks",
    "17_pytorch_three_styles": "PyTorch in three styles",
    "18_convolution_animated": "A convolution, moving",
    "19_early_to_late": "From edges to things: what layers respond to",
    "20_history_of_networks": "A history of networks",
    "22_saliency_and_fooling": "Saliency, fooling images, class visualisation",
    "23_two_classes_step_by_step": "A classifier of photos, step by step",
}


@dataclass(frozen=True)
class Words:
    """What the page says about a view or a kind of node.

    Attributes:
        title: its name.
        sentence: what one sees, one sentence.
        idea: the idea behind it, two to four sentences.
        lesson: name of the lesson that it comes from.
        formula: the formula in plain text; empty for none.
    """

    title: str
    sentence: str
    idea: str
    lesson: str
    formula: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the words as the protocol has them."""
        name = self.lesson
        lesson = {"name": name, "title": LESSONS[name], "file": f"lessons/{name}.py", "page": f"lessons/{name}.html"}
        return {
            "title": self.title,
            "sentence": self.sentence,
            "idea": self.idea,
            "formula": self.formula,
            "lesson": lesson,
        }


VIEWS = {
    "overview": Words(
        "Overview",
        "The image comes in, every block computes new numbers from those of the blocks before it, and at the end "
        "stands the answer.",
        "A network is a chain of simple steps. Each block shows a small picture of its output for this image: first "
        "still an image, then patterns, at the end one number for each class. The steps were not written by anyone: "
        "their weights were found by training on examples.",
        "11_deeper_convnet",
        "answer = softmax(fₙ(… f₂(f₁(image))))",
    ),
    "stage": Words(
        "Stage",
        "The layers of one stage: here the maps have about one size, and the next stage goes on with smaller ones.",
        "Designers of networks repeat a block several times before they halve the size of the maps; such a group is a "
        "stage. While the maps shrink, the number of channels usually grows. So the network keeps less and less of "
        "where something is, and more and more of what it is.",
        "20_history_of_networks",
    ),
    "layer": Words(
        "Layer",
        "All channels of one layer for this image: each small picture shows where one detector found its pattern.",
        "A layer computes many maps at once, called channels. All of them look at the same input, each through weights "
        "of its own. “Strength” is the mean size of the numbers of a channel, whatever their sign: it says how much "
        "the channel has to say about this image.",
        "13_looking_inside",
        "strength of a channel = (sum of |number|) / (how many numbers)",
    ),
    "vector": Words(
        "Layer of single numbers",
        "All numbers of one layer for this image: each bar is one number, to the left where it is negative.",
        "In the last layers of a network there are no maps any more: each channel is a single number for the whole "
        "image. In the very last layer there is one number for each class, the logit, and the largest one decides the "
        "answer.",
        "02_linear_classifiers",
    ),
    "channel": Words(
        "Channel",
        "One channel of a layer laid over the photo: the stronger the colour, the larger the number that the channel "
        "has there.",
        "Every number of the map depends only on a square part of the photo, its receptive field, which the frame "
        "shows. Deeper layers have larger receptive fields, because each layer looks at a few neighbours of the layer "
        "before it. The histogram counts how many numbers of the map are of which size.",
        "19_early_to_late",
        "receptive field = that of the layer before + (kernel − 1) · (product of the strides before)",
    ),
    "number": Words(
        "One number",
        "One number of the network, computed before your eyes from the numbers that it is made of.",
        "There is no magic anywhere in a network: every number comes from other numbers by plain arithmetic. Here the "
        "terms are written out, and their result is compared with the number that PyTorch computed. Click a term to "
        "go to the number that it comes from, back to the pixels of the photo.",
        "08_convolution",
    ),
    "unit": Words(
        "Unit",
        "One channel on its own: the images that excite it most, the classes that it goes with, and an image made "
        "for it.",
        "What a channel detects is written nowhere, so one looks for it from three sides. Real images say when it "
        "responds; classes say what that is good for; and an image made by following the gradient shows what it would "
        "like best. None of the three is a proof: a channel may respond to several things that have little in common.",
        "13_looking_inside",
        "feature visualisation: image ← image + step · ∂(mean of the channel) / ∂(image)",
    ),
    "playground": Words(
        "Playground",
        "A small kernel slides over the image, and at every position it makes one number of the result.",
        "At each position the pixels under the kernel are multiplied by its numbers, and the products are added. The "
        "stride says how far the kernel moves each time, padding adds a border of zeros around the image, and dilation "
        "leaves gaps between the pixels that the kernel takes. Together they decide how large the result is.",
        "18_convolution_animated",
        "size of the result = ⌊(size + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1",
    ),
    "explanation": Words(
        "Explanation",
        "The colours say which parts of the photo the answer depends on, according to the method that you chose.",
        "Different methods ask different questions: what happens if this pixel changes a little, or if this patch is "
        "covered? Two scores test the map on the network itself. Deletion takes the most important pixels away first: "
        "with a good map the answer collapses at once, and the score is low. Insertion puts them into an empty image "
        "first: with a good map the answer comes back at once, and the score is high.",
        "22_saliency_and_fooling",
    ),
    "time": Words(
        "Time",
        "The same view of the same image with the weights that the network had after each epoch of its training.",
        "Epoch 0 is before training: the weights are random, and so are the maps. An epoch is one pass over all "
        "training images; after each of its small steps every weight is changed a little, so that the error becomes "
        "smaller. Often most of what one can see comes about in the first epochs.",
        "07_update_rules",
        "weight ← weight − learning rate · ∂error / ∂weight",
    ),
    "compare": Words(
        "Side by side",
        "The same place of the network twice, for two images or two trainings: what differs is the difference "
        "between the two.",
        "A comparison says more than a single picture: one sees what changes with the image, and what is the same for "
        "all images. Two trainings that began with other random numbers reach similar answers with other channels. "
        "Therefore compare channels by what they respond to, and not by their numbers.",
        "19_early_to_late",
    ),
    "touch": Words(
        "Touch",
        "You change something, a channel or the image, and see what the network makes of it.",
        "Looking shows what goes together; only changing something shows what causes what. Switch a channel off: if "
        "the answer stays, the network did not need it here. Cover a part of the photo: if the answer falls, the "
        "network was looking there.",
        "22_saliency_and_fooling",
        "change of the answer = probability before − probability after",
    ),
}

KINDS = {
    "input": Words(
        "Image",
        "The image as numbers: one map for each colour, as the network takes it.",
        "Every pixel is a number for each colour, red, green and blue, or a single one where the image is grey. "
        "Usually the mean of the training images is subtracted, and the result is divided by their standard "
        "deviation, before the network gets them.",
        "23_two_classes_step_by_step",
        "x = (pixel / 255 − mean) / standard deviation",
    ),
    "conv": Words(
        "Convolution",
        "Each number says how well a small pattern, the filter, fits the layer before at this place.",
        "The filter slides over the maps. At every position it multiplies the numbers of a small window, in all "
        "channels, by its weights, and adds the products and a bias. The same weights are used at every position, so "
        "that a pattern is found wherever it is.",
        "08_convolution",
        "y[c, i, j] = bias[c] + Σ weight[c, k, u, v] · x[k, i·stride + u, j·stride + v]",
    ),
    "depthwise": Words(
        "Depthwise convolution",
        "Each channel is filtered by itself, with a small filter of its own.",
        "A usual convolution looks at all channels at once; this one looks at one, which takes far fewer "
        "multiplications. A 1x1 convolution that mixes the channels usually follows. The two together do nearly what a "
        "usual convolution does, for a fraction of the work.",
        "20_history_of_networks",
        "y[c, i, j] = bias[c] + Σ weight[c, u, v] · x[c, i·stride + u, j·stride + v]",
    ),
    "grouped": Words(
        "Grouped convolution",
        "The channels are divided into groups, and each filter looks only at the channels of its own group.",
        "With g groups a convolution needs only one g-th of the weights and multiplications. AlexNet used two groups, "
        "because the network had to be divided between two graphics cards; ResNeXt uses many, since that works better "
        "than one wide filter for the same work.",
        "20_history_of_networks",
        "y[c, i, j] = bias[c] + Σ weight[c, k, u, v] · x[k, …],   k only in the group of c",
    ),
    "transposed": Words(
        "Transposed convolution",
        "Each number of a small map is spread over a window of a larger map; where windows overlap, they add up.",
        "It does the steps of a convolution backwards: one number becomes a window instead of a window becoming one "
        "number. With a stride of 2 the map becomes twice as large. Networks that make images use it.",
        "15_gans",
        "y[i·stride + u, j·stride + v] += weight[u, v] · x[i, j]",
    ),
    "dense": Words(
        "Dense layer",
        "Each number is a weighted sum of all numbers before it, plus a bias.",
        "Also called fully connected or linear layer. It knows no neighbours: every input has a weight of its own for "
        "every output. At the end of a network it weighs the evidence that the layers before have collected, one sum "
        "for each class.",
        "02_linear_classifiers",
        "y[c] = bias[c] + Σ weight[c, k] · x[k]",
    ),
    "product": Words(
        "Matrix product",
        "Rows of one layer output are multiplied by columns of another, number by number, and added up.",
        "Unlike in a dense layer both factors come from the image; neither is a learned weight. Each result is large "
        "where the row and the column are alike. Attention, for example, compares positions of an image with each "
        "other in this way.",
        "16_captions_torch",
        "y[i, j] = Σ a[i, k] · b[k, j]",
    ),
    "norm": Words(
        "Normalisation",
        "The numbers are shifted and stretched so that they are usually around zero and about one in size.",
        "Batch normalisation takes mean and variance from the training, one pair for each channel; layer "
        "normalisation takes them from the image itself. Then a learned weight and bias give every channel the scale "
        "that suits it. Training is easier when no layer has to follow the moving scales of the layers before.",
        "05_batch_normalisation",
        "y = (x − mean) / √(variance + ε) · weight + bias",
    ),
    "activation": Words(
        "Activation function",
        "Every number passes through the same bent curve, such as ReLU, which makes negative numbers zero.",
        "Without a bend, many layers in a row could do no more than a single one, because a weighted sum of weighted "
        "sums is again a weighted sum. ReLU keeps what fits and silences what does not. It costs next to nothing and "
        "does not weaken the gradient of positive numbers.",
        "09_fully_connected",
        "ReLU(x) = max(0, x)",
    ),
    "softmax": Words(
        "Softmax",
        "Scores become probabilities: all are between 0 and 1, and together they make 1.",
        "Each score is put into the exponential function, and the results are divided by their sum. A score that is "
        "larger by 1 gets 2.7 times the probability. The order stays; but a probability of 99 % does not mean that the "
        "network is right 99 times out of 100.",
        "02_linear_classifiers",
        "p[c] = exp(score[c]) / Σ exp(score[k])",
    ),
    "maxpool": Words(
        "Max pooling",
        "Of each small window only the largest number remains.",
        "The map becomes smaller, and what was found stays: whether a pattern was there matters more than at which "
        "pixel. If the pattern moves by a pixel, the result often stays the same. There is nothing to learn in it.",
        "18_convolution_animated",
        "y[c, i, j] = max of x[c, i·stride + u, j·stride + v] over the window",
    ),
    "avgpool": Words(
        "Average pooling",
        "Of each window, or of the whole map, the mean remains.",
        "At the end of many networks the mean of each channel over the whole map is taken: how much of its pattern is "
        "there, wherever it is. So the layers after it need no weights for positions, and images may have any size.",
        "08_convolution",
        "y[c, i, j] = (sum of the window) / (how many numbers it has)",
    ),
    "add": Words(
        "Addition",
        "Two outputs of the same shape are added, number by number.",
        "In a residual network the numbers that went into a block are added to those that come out of it. So the block "
        "only has to learn the difference, and the gradient has a direct way back to the first layers. That made "
        "networks of a hundred layers trainable.",
        "20_history_of_networks",
        "y = x + f(x)",
    ),
    "multiply": Words(
        "Multiplication",
        "Two outputs are multiplied, number by number; a factor near zero closes a channel, one near 1 leaves it open.",
        "Squeeze-and-excitation computes one factor for each channel from the whole image, and multiplies the channel "
        "by it. So the network can turn channels up and down, depending on what it has seen. Other gates work alike.",
        "20_history_of_networks",
        "y[c, i, j] = factor[c] · x[c, i, j]",
    ),
    "concat": Words(
        "Concatenation",
        "The channels of several outputs are put behind one another; no number changes.",
        "Later layers can use all of them. In DenseNet every layer gets the outputs of all layers before it; in "
        "GoogLeNet filters of several sizes work beside each other, and their channels are put together.",
        "20_history_of_networks",
        "channels of y = channels of a, then channels of b, …",
    ),
    "resize": Words(
        "Resizing",
        "The map is made larger or smaller by mixing or repeating neighbouring numbers.",
        "Bilinear resizing takes the four nearest numbers, the nearer the more of it. Nothing is learned here. It "
        "brings maps to one size, so that they can be added or put together.",
        "23_two_classes_step_by_step",
        "y = (1−a)(1−b)·x₀₀ + (1−a)b·x₀₁ + a(1−b)·x₁₀ + ab·x₁₁,   a, b: distances from the number above left",
    ),
    "move": Words(
        "Rearrangement",
        "The numbers only change places; none of them changes its value.",
        "A map with rows and columns becomes a long list before a dense layer, or the order of the axes changes. "
        "Dropout is here, too: while training it sets random numbers to zero; now that training is over it does "
        "nothing.",
        "06_dropout",
        "y[somewhere] = x[elsewhere]",
    ),
    "opaque": Words(
        "Another operation",
        "An operation whose arithmetic the microscope does not know: it shows what goes in and what comes out.",
        "Networks may contain any program. The values are right, because PyTorch computed them; only the steps in "
        "between are not written out. Everything before and after it can be looked at as usual.",
        "17_pytorch_three_styles",
    ),
}


def all_words() -> dict[str, dict[str, Any]]:
    """Return the words of all views and all kinds of nodes by their names, as the protocol has them."""
    return {name: words.to_dict() for name, words in (VIEWS | KINDS).items()}
