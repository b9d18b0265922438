"""Entry point of `python app.py` and of a Hugging Face Space."""

import sys

from app.launch import main

if __name__ == "__main__":
    sys.exit(main())
