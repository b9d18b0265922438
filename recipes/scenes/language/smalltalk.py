"""Talk that is not about the picture, and honest answers to what the picture cannot tell."""

from dataclasses import dataclass
from functools import partial

from groma.data.sample import QA, Expected
from groma.dice import Dice
from recipes.scenes.language.asked import Asked, Maker
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.wording import as_typed


@dataclass(frozen=True, slots=True)
class Topic:
    """Wordings that all call for the same answer.

    Attributes:
        questions: at least ten.
        answers: each fits every question; the first is given most often.
        checks: words of which an answer must hold one, or empty.
    """

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    checks: tuple[str, ...] = ()


GREETING = Topic(
    (
        "Hello!",
        "Hi!",
        "Hi there!",
        "Hey!",
        "Hello Groma!",
        "Hi Groma.",
        "Good morning!",
        "Good afternoon.",
        "Good evening!",
        "Greetings.",
        "Hello, how are you?",
        "Hi, nice to meet you.",
    ),
    ("Hello! What would you like to know about the picture?",),
    ("hello", "hi"),
)
THANKS = Topic(
    (
        "Thanks!",
        "Thank you!",
        "Thank you very much.",
        "Thanks a lot!",
        "Many thanks.",
        "Great, thanks!",
        "Perfect, thank you.",
        "That helps, thanks.",
        "Thanks, that was useful.",
        "Cool, thank you!",
        "Well done, thanks.",
        "Okay, thanks.",
    ),
    ("You are welcome!",),
    ("welcome", "pleasure", "glad"),
)
GOODBYE = Topic(
    (
        "Goodbye!",
        "Bye!",
        "Bye bye!",
        "See you later!",
        "See you!",
        "Good night!",
        "That is all, goodbye.",
        "I have to go now. Bye!",
        "Until next time!",
        "Farewell.",
        "Have a nice day!",
        "Take care!",
    ),
    ("Goodbye! Come back with another picture whenever you like.",),
    ("bye", "see you"),
)
ABILITIES = Topic(
    (
        "What can you do?",
        "What can you do for me?",
        "How can you help me?",
        "What can I ask you?",
        "What kind of questions can I ask?",
        "Help!",
        "How does this work?",
        "What are you able to do?",
        "Tell me what you can do.",
        "What are your skills?",
        "Which questions do you understand?",
        "How do I use you?",
        "Can you help me?",
    ),
    (
        "I can find, count, compare and describe things in the picture, and show you where they "
        "are. You can also draw a box and ask me about it.",
    ),
    ("find", "count", "describe"),
)
IDENTITY = Topic(
    (
        "Who are you?",
        "What are you?",
        "What is your name?",
        "Tell me about yourself.",
        "Are you a human?",
        "Are you a person or a machine?",
        "Are you an AI?",
        "Are you ChatGPT?",
        "Which model are you?",
        "Who am I talking to?",
        "What does Groma mean?",
        "Introduce yourself, please.",
    ),
    (
        "I am Groma, a small language model that looks at a picture and points at what it talks "
        "about.",
    ),
    ("groma",),
)
OUTSIDE = Topic(
    (
        "What will the weather be like tomorrow?",
        "Will it rain tomorrow?",
        "Who is the president?",
        "Who won the election?",
        "What do you think about politics?",
        "What is the capital of France?",
        "Tell me a joke.",
        "Write me a poem.",
        "What is 17 times 23?",
        "Can you solve this equation: 2x + 3 = 11?",
        "What time is it?",
        "What day is today?",
        "Who wrote Hamlet?",
        "What is the news today?",
        "How do I cook pasta?",
        "Can you recommend a film?",
        "Play some music.",
        "Translate this into German.",
        "How tall is Mount Everest?",
        "What is the meaning of life?",
        "Write a program in Python.",
        "Book a flight to Rome for me.",
        "What is the price of gold?",
        "Who won the football match yesterday?",
        "When did the war end?",
        "How old is the universe?",
        "Explain quantum mechanics.",
        "Give me medical advice.",
        "What should I eat tonight?",
        "Do you love me?",
        "Where do I live?",
        "What is my name?",
        "Send an email to my boss.",
        "Search the internet for shoes.",
        "Which shares should I buy?",
        "Are you able to drive a car?",
    ),
    ("I cannot help with that: I only know what is in the picture.",),
    ("cannot", "can't", "only", "do not know", "don't know"),
)
UNKNOWABLE = Topic(
    (
        "Who drew this picture?",
        "When was this picture taken?",
        "Where was this picture taken?",
        "What happened before this picture?",
        "What happens next in this scene?",
        "What are they thinking about?",
        "How much does all of this cost?",
        "What is the story behind this picture?",
        "Who owns these things?",
        "Why was this picture made?",
        "What do these things weigh?",
        "What does it smell like here?",
        "What sounds can be heard in this picture?",
        "What is the temperature in this scene?",
        "What is outside the frame of the picture?",
        "Which camera was used for this picture?",
        "What is the name of the artist?",
        "How old are the things in the picture?",
    ),
    ("I cannot tell that from the picture.",),
    ("cannot", "can't", "not possible", "do not know", "don't know"),
)
COMPLAINT = Topic(
    (
        "That is wrong.",
        "That is not right.",
        "No, that is not it.",
        "You are wrong.",
        "That is a mistake.",
        "I do not think so.",
        "Are you sure?",
        "That does not look right.",
        "This is not what I meant.",
        "Hmm, I do not agree.",
        "Really?",
    ),
    (
        "I may be wrong. You can draw a box around what you mean and ask me about it.",
        "I can make mistakes. Please draw a box around what you mean and ask me about it.",
    ),
    ("wrong", "mistake", "sorry"),
)
ACKNOWLEDGEMENT = Topic(
    (
        "Okay.",
        "I see.",
        "Great!",
        "Nice!",
        "Cool.",
        "Very good.",
        "Well done!",
        "That is right.",
        "Good job!",
        "Interesting.",
        "Wonderful!",
        "You are very good at this.",
    ),
    ("What else would you like to know about the picture?",),
)

TOPICS: dict[str, Topic] = {
    "chat_greeting": GREETING,
    "chat_thanks": THANKS,
    "chat_goodbye": GOODBYE,
    "chat_abilities": ABILITIES,
    "chat_identity": IDENTITY,
    "chat_outside": OUTSIDE,
    "chat_unknowable": UNKNOWABLE,
    "chat_complaint": COMPLAINT,
    "chat_acknowledgement": ACKNOWLEDGEMENT,
}


def talk_about(kind: str, topic: Topic, facts: Facts, dice: Dice) -> Asked:
    """A turn that needs no look at the picture and points at nothing."""
    del facts
    question = as_typed((dice.choice(topic.questions),), dice)
    expected = Expected(regions=frozenset(), words=(topic.checks,) if topic.checks else ())
    return Asked(QA(question, (dice.choice(topic.answers),), kind, expected), ())


SMALL_TALK: dict[str, Maker] = {
    kind: partial(talk_about, kind, topic) for kind, topic in TOPICS.items()
}
