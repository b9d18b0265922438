import pytest

from groma.data.sample import Phrase, listing, sentence
from groma.text.grammar import (
    MEASURES,
    a,
    article,
    capitalised,
    number_word,
    plural_of,
    several,
    the,
)
from recipes.photographs.vocabulary import NOUNS as PHOTOGRAPHED
from recipes.scenes.nouns import NOUNS

PLURALS = """
dogs cats rabbits pigs cows horses sheep monkeys elephants lions tigers bears pandas foxes frogs
snakes turtles fish sharks whales octopuses crabs snails butterflies bees ladybugs spiders birds
owls ducks penguins roosters camels mice giraffes zebras kangaroos crocodiles deer hedgehogs
flamingos dinosaurs unicorns apples bananas oranges lemons grapes strawberries cherries pineapples
watermelons pears tomatoes carrots corn mushrooms broccoli avocados bread cheese pizzas hamburgers
fries tacos eggs cookies cakes donuts coffee pretzels cupcakes cars taxis buses trucks ambulances
tractors bicycles motorcycles trains airplanes helicopters rockets sailboats ships scooters chairs
couches beds lightbulbs doors televisions telephones laptops cameras clocks books pencils scissors
hammers wrenches keys locks umbrellas balloons gifts teddies guitars trumpets violins drums
baskets brooms candles magnets bells anchors backpacks handbags crowns glasses hats shirts jeans
dresses shoes boots socks gloves scarves footballs basketballs baseballs trophies skateboards
kites trees pines palms cactuses sunflowers roses tulips houses castles tents suns moons stars
clouds rainbows snowmen babies boys girls men women robots ghosts santas
"""
AN = "elephant octopus owl apple orange avocado egg ambulance airplane umbrella anchor"


def test_the_plural_of_every_noun():
    assert [plural_of(noun) for noun in NOUNS] == PLURALS.split()


def test_the_article_of_every_noun():
    assert [noun for noun in NOUNS if article(noun) == "an"] == AN.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (a("dog"), "a dog"),
        (a("unicorn"), "a unicorn"),
        (a("orange", colour="orange"), "an orange"),
        (a("carrot", colour="orange"), "an orange carrot"),
        (a("glasses", "small"), "a small pair of glasses"),
        (a("corn", colour="yellow"), "an ear of yellow corn"),
        (a("broccoli", "large", "green"), "a large head of green broccoli"),
        (the("grapes", colour="purple").text, "the purple grapes"),
        (several("glasses", 2), "two pairs of glasses"),
        (several("bread", 3), "three loaves of bread"),
        (several("glasses", 0), "no glasses"),
        (several("glasses", 1), "one pair of glasses"),
        (several("car", 2, "red"), "two red cars"),
        (several("dog"), "dogs"),
        (several("mouse", 12), "12 mice"),
        (article("TV"), "a"),
        (number_word(0), "no"),
    ],
)
def test_noun_phrases(words, expected):
    assert words == expected


def test_verbs_agree():
    assert the("glasses").agreement["is"] == "are"
    assert the("glasses").agreement["it"] == "they"
    assert the("bread").agreement["is"] == "is"
    assert the("dog").agreement["does"] == "does"


def test_measured_nouns_are_nouns():
    assert set(MEASURES) <= {*NOUNS, *PHOTOGRAPHED}


def test_lists_and_sentences():
    dog, cat = Phrase("a dog", (0,)), Phrase("a cat", (1,))
    assert listing([dog]) == (dog,)
    assert listing([dog, cat]) == (dog, " and ", cat)
    assert listing(["a", "b", "c"]) == ("a, b and c",)
    assert sentence((dog, " is here.")) == (Phrase("A dog", (0,)), " is here.")
    assert sentence(("where", " is it?")) == ("Where is it?",)
    assert capitalised("") == ""
