"""The one table of how much may be asked: the page, programs and the command line keep to it.

What is checked against it is checked before any work is done.
"""

from groma.config import NUM_REGION_TOKENS

LONGEST_QUESTION = 4000  # characters
MOST_BOXES = NUM_REGION_TOKENS  # drawn with one question: the model has no more names
MOST_STROKES = 100  # of one scribble
MOST_POINTS = 2000  # of all strokes of a scribble, or of one polygon
LONGEST_MASK = 1_000_000  # letters or numbers of a mask's run lengths
MOST_NEW_TOKENS = 1024  # of one answer
HIGHEST_TEMPERATURE = 2.0  # beyond it an answer is noise, and rarely ends
# Characters of all questions and answers in a file; ten times what a model here reads.
LONGEST_TALK = 200_000
MOST_TURNS = 1000  # of a talk in a file

# Largest picture that is decoded; the worst formats need 1.3 GB on the way, most half of it.
MAX_PIXELS = 64_000_000
# Longest side of a picture in pixels, as in JPEG: what reducing it takes grows with the side.
MAX_SIDE = 65_535
MOST_BYTES = 25_000_000  # of a picture's file that somebody sends
MOST_SET_BYTES = 2_000_000_000  # of one file of a set to learn from, where there is a finetune tab
MOST_SETS_BYTES = 8_000_000_000  # of files sent at once there

MOST_WAITING = 64  # requests of all visitors in line; who comes then is told to come again
# Of a request that brings no file: the longest question with the most boxes is half as long.
MOST_REQUEST_BYTES = 256_000
# The same where there is a finetune tab: the names of all files of a set come in one request.
MOST_TEACHING_BYTES = 4_000_000
LONGEST_NAME = 64  # characters that a browser tab or a program may call itself
