"""For those who come from a teaching repository: ``python main.py --model=lenet5`` is ``cnnlab train lenet5``."""

import sys

from cnnlab.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
