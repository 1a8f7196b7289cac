r"""
Captions: saying what is in an image
====================================

A recurrent network writes a sentence word by word: it reads the last word, changes its state, and gives the next one.
When the state that it begins with comes from an image, the sentence is about that image. Here a plain recurrent network
(RNN) and a long short-term memory (LSTM) first learn 50 captions by heart, which shows that they can learn. Then they
are asked about scenes they have not seen, which shows how little of it they have understood; and then there are more
scenes to learn from.

Source: Vinyals, Toshev, Bengio and Erhan, "Show and tell", 2015 (https://arxiv.org/abs/1411.4555); CS231n,
assignment 3.
"""

from collections import Counter

import numpy as np
from common import Lesson

import cnnlab
from cnnlab.figures import image_grid, lines
from cnnlab.scratch.features import extract_features, hog_feature
from cnnlab.scratch.nets.captioning import CaptioningRNN, decode_captions
from cnnlab.scratch.solver import Solver

lesson = Lesson("12_captions")

# %%
# Scenes and sentences
# --------------------
#
# Photos with captions are too large to come with an installation. Handwritten digits do come with it, and two or three
# of them in one picture are a scene with something to say about it: which digits they are, and how they lie.

NUMBERS = ["a zero", "a one", "a two", "a three", "a four", "a five", "a six", "a seven", "an eight", "a nine"]
LAYOUTS = [  # a sentence, and the upper left corner of each of its digits in a picture of 56x56
    ("{} left of {}", [(14, 0), (14, 28)]),
    ("{} above {}", [(0, 14), (28, 14)]),
    ("{} above {} and {}", [(0, 14), (28, 0), (28, 28)]),
]


def make_scenes(split, count):
    """Return pictures (count, 56, 56) of digits from ``split``, and a sentence about each."""
    pixels, labels = split.pixels.numpy()[:, 0], split.labels.numpy()
    scenes, sentences = np.zeros((count, 56, 56), np.uint8), []
    for scene in scenes:
        sentence, corners = LAYOUTS[lesson.rng.integers(len(LAYOUTS))]
        chosen = lesson.rng.integers(len(pixels), size=len(corners))
        for (top, left), digit in zip(corners, pixels[chosen], strict=True):
            scene[top : top + 28, left : left + 28] = digit
        sentences.append(sentence.format(*(NUMBERS[label] for label in labels[chosen])))
    return scenes, sentences


digits = cnnlab.load_data("mnist5k")
scenes, sentences = make_scenes(digits.train, lesson.scale(20_000, 500))
new_scenes, new_sentences = make_scenes(digits.test, lesson.scale(1000, 100))

# %%
# Words are numbers
# -----------------
#
# The vocabulary gives a position to every word that occurs. ``<START>`` opens a caption and ``<END>`` closes it;
# ``<NULL>`` fills it up, so that captions of different lengths fit into one array. Filling does not count in the loss.

WORDS = ["<NULL>", "<START>", "<END>", *sorted({word for sentence in sentences for word in sentence.split()})]
word_to_idx = {word: position for position, word in enumerate(WORDS)}


def encode(sentences, length=10):
    captions = np.full((len(sentences), length), word_to_idx["<NULL>"])
    for caption, sentence in zip(captions, sentences, strict=True):
        words = ["<START>", *sentence.split(), "<END>"]
        caption[: len(words)] = [word_to_idx[word] for word in words]
    return captions


captions = encode(sentences)
print(sentences[0], "->", captions[0])

# %%
# Features of an image
# --------------------
#
# Networks that caption photos take the features of an image from a convolutional network. For digits the histograms of
# oriented gradients of lesson 04 will do: which directions the strokes have, in each cell of 8x8 pixels.


def features_of(scenes):
    colours = np.broadcast_to(scenes[:, None], (len(scenes), 3, 56, 56))
    return extract_features(colours, [hog_feature])


features, new_features = features_of(scenes), features_of(new_scenes)
mean, spread = features.mean(axis=0), features.std(axis=0).mean()
features, new_features = (features - mean) / spread, (new_features - mean) / spread

# %%
# By heart
# --------
#
# ``CaptioningRNN`` makes the first state from the features, :math:`h_0 = x W_{proj} + b_{proj}`. At every step a word
# is looked up as a vector, the recurrent layer computes the next state, and a dense layer scores every word of the
# vocabulary as the next one. The loss is the cross-entropy of whole captions: at 0.1 the network gives the right
# caption, all of its words together, a probability of about 0.9.


def train(cell_type, count, **options):
    """Return a network that has learned the first ``count`` captions, and the loss at each iteration."""
    sizes = {"input_dim": features.shape[1], "wordvec_dim": 64, "hidden_dim": lesson.scale(256, 64)}
    model = CaptioningRNN(word_to_idx, **sizes, cell_type=cell_type)
    data = {"X_train": features[:count], "y_train": captions[:count]}
    solver = Solver(model, data, update_rule="adam", num_train_samples=0, verbose=False, **options)
    solver.train()
    return model, solver.loss_history


by_heart, histories = {}, {}
for name in ("RNN", "LSTM"):
    by_heart[name], histories[name] = train(
        name.lower(), 50, batch_size=25, num_epochs=60, optim_config={"learning_rate": 5e-3}
    )
    loss, _ = by_heart[name].loss(features[:50], captions[:50])
    lesson.number(f"{name}: loss on 50 captions", loss, goal=0.1, below=True)

curves = {name: (np.arange(len(losses)) + 1, losses) for name, losses in histories.items()}
lesson.figure(
    lines({"": curves}, "iteration", "loss of a minibatch", log_y=True),
    "loss",
    "Both cells learn 50 captions by heart.",
)

# %%
# To write a caption, the network reads its own words: ``sample`` takes the best word at every step and feeds it
# back. For the 50 scenes it repeats the captions, word for word.


def captions_for(model, features):
    return decode_captions(model.sample(features, max_length=10), WORDS)


def share_right(said, wanted):
    return np.mean(np.array(said) == np.array(wanted))


for name, model in by_heart.items():
    said = captions_for(model, features[:50])
    lesson.number(f"{name}: captions that are right, of the 50", share_right(said, sentences[:50]), goal=1.0)

lesson.figure(
    image_grid(scenes[:8], said[:8], columns=4, cell=1.9),
    "known",
    "Scenes that the LSTM was trained on, and its captions.",
)

# %%
# Scenes they do not know
# -----------------------
#
# New scenes, of digits that were in none of the 50, are another matter. Most captions get the layout right, more of the
# LSTM's than of the RNN's, but few get the digits right. A loss near zero says nothing about new images.


def layout(caption):
    return " ".join(word for word in caption.split() if word in ("left", "of", "above", "and"))


for name, model in by_heart.items():
    said = captions_for(model, new_features)
    same_layout = share_right([layout(caption) for caption in said], [layout(caption) for caption in new_sentences])
    lesson.number(f"{name}: new scenes with the right layout", same_layout)
    lesson.number(f"{name}: new scenes with the right caption", share_right(said, new_sentences))

# %%
# The cure is not another network but more to learn from: the same RNN, and 20,000 scenes instead of 50.

many = f"{len(scenes):,}"
learned, _ = train(
    "rnn", len(scenes), batch_size=100, num_epochs=lesson.scale(5, 20), lr_decay=lesson.scale(0.6, 0.95),
    optim_config={"learning_rate": 2e-3},
)  # fmt: skip
said = {"50": captions_for(by_heart["RNN"], new_features), many: captions_for(learned, new_features)}
lesson.number(f"RNN, {many} scenes: new scenes with the right caption", share_right(said[many], new_sentences))


def marked(caption, sentence):
    return f"{caption} ✓" if caption == sentence else caption or "(nothing)"


titles = [
    "\n".join(f"{count}: {marked(captions[n], new_sentences[n])}" for count, captions in said.items())
    for n in range(12)
]
lesson.figure(
    image_grid(new_scenes[:12], titles, columns=4, cell=2.4),
    "new",
    f"New scenes, and what the RNN says that knows 50 scenes, and the one that knows {many}; ✓ where it is right.",
)

# %%
# It errs where digits look alike, such as threes and fives. And a caption of three digits is right only if all three
# are.

mistakes = Counter()
for caption, sentence in zip(said[many], new_sentences, strict=True):
    words, right_words = caption.split(), sentence.split()
    if layout(caption) == layout(sentence) and len(words) == len(right_words):  # else words do not stand side by side
        for word, right in zip(words, right_words, strict=True):
            if word != right and word not in ("a", "an"):
                mistakes[" and ".join(sorted([word, right]))] += 1
for pair, count in mistakes.most_common(5):
    print(f"{pair} taken for each other: {count} times")

# sphinx_gallery_thumbnail_path = "images/lessons/12_captions/known.png"
