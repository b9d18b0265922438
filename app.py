"""Entry point of `python app.py` and of a Hugging Face Space."""

import sys

from app.main import main

if __name__ == "__main__":
    sys.exit(main())
