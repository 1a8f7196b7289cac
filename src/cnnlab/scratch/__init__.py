"""Everything that a convolutional network is made of, in NumPy alone: forward and backward by hand.

``layers`` holds the functions, each with its backward pass; ``gradcheck`` shows that the backward passes are right;
``optim`` are the update rules; ``nets`` puts layers together; ``Solver`` trains them; ``classifiers`` are the linear and
nearest-neighbour ones that come before networks, ``features`` what was computed from images before networks learned it.
Interfaces and conventions follow the assignments of Stanford's course CS231n (https://cs231n.github.io), so that what is
written there can be compared line by line with what is here. Nothing in this room imports torch.
"""
