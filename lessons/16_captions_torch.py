r"""
Captions with torch: a recurrent network that looks
===================================================

Lesson 12 wrote captions with a network of NumPy, from features that were computed once. Here the convolutional network
learns along, in torch, and three decoders write: a plain recurrent network (RNN), a long short-term memory (LSTM), and
an LSTM with attention, which weights the positions of the image anew before every word. First they learn 50 captions
by heart; then they learn to describe drawn scenes, new ones too; and then scenes with combinations that they have
never seen.

Source: Vinyals, Toshev, Bengio and Erhan, "Show and tell", 2015 (https://arxiv.org/abs/1411.4555); Xu et al., "Show,
attend and tell", 2015 (https://arxiv.org/abs/1502.03044); CS231n, assignment 3.
"""

from dataclasses import replace

import torch
from common import Lesson

from cnnlab.figures import lines
from cnnlab.generate.captions import (
    CaptionEpoch,
    Captioner,
    CaptionRecipe,
    bleu,
    concept_scores,
    fit_captions,
    load_captions,
)
from cnnlab.generate.captions.pictures import attention_figure, caption_grid

lesson = Lesson("16_captions_torch")  # the scenes are drawn; --data is not asked

# %%
# Scenes with several right sentences
# -----------------------------------
#
# A scene has one to three groups of things, each a number of equal things of one colour and shape. What is in it is
# known, so that every right sentence can be listed: there are four, and people who describe photos do not agree on one
# sentence either. In the split ``held_out`` are pairs of colour and shape that no training scene has.

data = load_captions("scenes", count=lesson.scale(8000, 80), size=lesson.scale(64, 32), seed=lesson.seed)
for sentence in data.train.references(0):
    print(sentence)
print(len(data.vocabulary), "words:", data.train.captions[0].tolist())

# %%
# By heart
# --------
#
# ``fit_captions`` trains as ``cnnlab.fit`` does: it gives an event for every step and every epoch. In each step all
# words of a caption are predicted from the words before it, whatever the network would have said itself (teacher
# forcing). A single caption of each of 50 scenes is learned until the loss is almost zero, and then repeated word for
# word.

DECODERS = {"RNN": "rnn", "LSTM": "lstm", "attention": "attention"}


def train(decoder, data, **settings):
    """Return a captioner, and the training loss of a word after each epoch."""
    recipe = CaptionRecipe(
        data="scenes", decoder=decoder, image_size=32, seed=lesson.seed, device="cpu",
        encoder_options={"widths": lesson.scale([24, 48, 96], [8, 16])}, hidden_size=lesson.scale(192, 32), **settings,
    )  # fmt: skip
    losses = []
    for event in fit_captions(recipe, data=data):
        if isinstance(event, CaptionEpoch):
            losses.append(event.train_loss)
    session = event.session
    return Captioner(decoder, session.network, session.preprocess, session.max_length), losses


def one_caption(split, count):
    """Return the first images of a split with the first caption of each."""
    chosen = split.subset(range(count))
    rows = torch.stack([chosen.captions_of(n)[0] for n in range(count)])
    return replace(chosen, captions=chosen.captions[rows], image_of=torch.arange(count), sentences=None)


def describe(captioner, split, width=1):
    """Return a sentence for each image of a split, written greedily or with a beam."""
    parts = captioner.describe_split(split, torch.arange(len(split)), width)
    return [sentence for _, described in parts for sentence in described.sentences]


fifty = one_caption(data.train, 50)
curves = {}
for name, decoder in DECODERS.items():
    captioner, losses = train(
        decoder, replace(data, train=fifty, val=fifty), epochs=lesson.scale(60, 20), batch_size=10
    )
    curves[name] = (range(1, len(losses) + 1), losses)
    said = describe(captioner, fifty)
    right = sum(sentence in fifty.references(n) for n, sentence in enumerate(said)) / 50
    lesson.number(f"{name}: loss of a word, 50 captions", losses[-1], goal=0.1, below=True)
    lesson.number(f"{name}: captions that are right, of the 50", right, goal=0.98)

lesson.figure(
    lines({"": curves}, "epoch", "loss of a word", log_y=True),
    "loss",
    "All three learn 50 captions by heart.",
)

# %%
# New scenes
# ----------
#
# With 8,000 scenes and all of their captions, the loss cannot go to zero: of four right sentences the network cannot
# know which one comes. The sentences that it writes itself are compared with all four: BLEU counts words and rows of up
# to four words that they share; the share of right groups says more, since it knows the scene.

captioners, said = {}, {}
for name, decoder in DECODERS.items():
    captioners[name], _ = train(decoder, data, epochs=lesson.scale(8, 1), val_limit=lesson.scale(200, 10))
    said[name] = describe(captioners[name], data.test)
    references = [data.test.references(n) for n in range(len(data.test))]
    lesson.number(f"{name}: BLEU of new scenes", bleu(said[name], references))
    scores = concept_scores(said[name], data.test.scenes)
    lesson.number(f"{name}: new scenes described without a mistake", scores.scene)

shown = list(data.test.images.pixels[:8])
lesson.figure(
    caption_grid(shown, said["attention"][:8]), "new", "New scenes, and what the network with attention says of them."
)

# %%
# Where it looks
# --------------
#
# Attention gives a weight to every position of the map before each word; they sum to one. Bright is where the weight is
# large. Nobody told the network where the things are: it has learned that from the sentences alone.

position = max(range(8), key=lambda n: len(said["attention"][n]))
captioner = captioners["attention"]
described = captioner.describe(captioner.inputs(data.test, torch.tensor([position])), width=1)
weights = described.decoded.attention[0]
lesson.figure(
    attention_figure(shown[position], described.sentences[0].split(), weights),
    "attention",
    "Where the network looks before it writes each word.",
)

# %%
# A beam
# ------
#
# The best word now need not begin the best sentence. A beam of three pursues the three best beginnings. It finds
# sentences that are more probable, here for the words that they have; whether they are better is another question.

inputs = captioner.inputs(data.test, torch.arange(len(data.test)))
for width in (1, 3):
    described = captioner.describe(inputs, width)
    lengths = (described.decoded.captions != data.vocabulary.null).sum(1)
    per_word = (described.decoded.log_probability / lengths).mean().item()
    lesson.number(f"attention, beam {width}: mean log-probability of a word", per_word)
    lesson.number(f"attention, beam {width}: BLEU of new scenes", bleu(described.sentences, references))

# %%
# Never seen together
# -------------------
#
# Red things were in the training scenes, and circles, but no red circle. Who has learned what red is and what a circle
# is can describe one all the same.

for name, captioner in captioners.items():
    unseen = concept_scores(describe(captioner, data.held_out), data.held_out.scenes)
    lesson.number(f"{name}: right colours, unseen pairs", unseen.colour)
    lesson.number(f"{name}: right shapes, unseen pairs", unseen.shape)
    lesson.number(f"{name}: right pairs of both, unseen pairs", unseen.pair)

pictures = list(data.held_out.images.pixels[:8])
sentences = describe(captioners["attention"], data.held_out.subset(range(8)))
lesson.figure(
    caption_grid(pictures, sentences), "unseen", "Scenes with pairs of colour and shape that no training scene had."
)

# sphinx_gallery_thumbnail_path = "images/lessons/16_captions_torch/attention.png"
