EXERCISE = "least_squares_discriminator_loss"
WRONG = "The half is forgotten."
NAMED = "The halves are missing"
AT_FIRST_SIGHT = True


def least_squares_discriminator_loss(real, fake):
    return ((real - 1) ** 2).mean() + (fake**2).mean()
