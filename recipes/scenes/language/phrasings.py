"""How people ask: for every kind of question, its wordings under the answer they call for.

`{x}` is what is asked about, `{t}` the grounded phrase of the answer, `{is}`, `{it}`, `{does}`
agree with it. Wordings are grouped by answer so that the answer follows from the question.
"""

Table = dict[str, tuple[str, ...]]

FIND: Table = {
    "Here {is} {t}.": (
        "Find {x}.",
        "Please find {x}.",
        "Show me {x}.",
        "Please show me {x}.",
        "Show me where {x} {is}.",
        "Locate {x}.",
        "Please locate {x} in the picture.",
        "Point to {x}.",
        "Point out {x}, please.",
        "Mark {x} in the picture.",
        "Highlight {x}.",
        "Put a box around {x}.",
        "Draw a box around {x}, please.",
        "Detect {x}.",
        "I am looking for {x}.",
        "Help me find {x}.",
        "Look for {x} in this image.",
        "I cannot find {x}. Please help.",
    ),
    "{t} {is} here.": (
        "Where {is} {x}?",
        "Where {is} {x} in the picture?",
        "Where {is} {x} in this image?",
        "Where can I find {x}?",
        "Where can I see {x}?",
        "Where do you see {x}?",
        "Where exactly {is} {x}?",
        "Tell me where {x} {is}.",
        "Do you know where {x} {is}?",
        "So where {is} {x}?",
        "What is the location of {x}?",
        "Where {does} {x} appear?",
    ),
    "Yes, here {is} {t}.": (
        "Can you find {x}?",
        "Can you find {x} for me?",
        "Could you show me {x}?",
        "Can you see {x}?",
        "Do you see {x}?",
        "Could you please point to {x}?",
        "Can you mark {x}?",
        "Would you highlight {x} for me, please?",
        "Can you locate {x} in the picture?",
        "Are you able to find {x}?",
    ),
    "{t}.": (
        "{x}",
        "{x}, please.",
        "{x}?",
        "Which region is {x}?",
        "Which region shows {x}?",
        "Which part of the picture shows {x}?",
        "Which box holds {x}?",
        "Give me the box of {x}.",
        "Give me the region of {x}, please.",
        "Which region does this describe: {x}?",
        "Ground this phrase: {x}.",
        "Box of {x}?",
    ),
}

FIND_ALL: Table = {
    "Here {is} {t}.": (
        "Find all {x}.",
        "Find every {one}.",
        "Show me all the {x}.",
        "Please show me all {x} in the picture.",
        "Mark all {x}.",
        "Mark every {one}, please.",
        "Highlight all the {x}.",
        "Highlight every {one} you can see.",
        "Point to all the {x}.",
        "Locate all {x} in this image.",
        "Put a box around each {one}.",
        "Draw boxes around all the {x}.",
        "Detect all {x}.",
        "I want to see all the {x}.",
        "Find the {x}, all of them.",
        "Where are all the {x}?",
        "Where do you see {x}?",
        "Which regions show {x}?",
        "Give me all the {x}.",
        "All {x}, please.",
    ),
    "Yes, here {is} {t}.": (
        "Can you find all the {x}?",
        "Could you mark every {one}?",
        "Can you show me all {x}, please?",
        "Could you point out all the {x}?",
        "Would you highlight every {one} for me?",
        "Can you box all the {x}?",
    ),
}

EXIST: Table = {
    "Yes, there {is} {t}.": (
        "Is there {a} in the picture?",
        "Is there {a}?",
        "Is there {a} in this image?",
        "Is there {a} here?",
        "Is there {a} anywhere?",
        "Can you see {a}?",
        "Do you see {a} in the picture?",
        "Does the picture show {a}?",
        "Does this image contain {a}?",
        "Tell me whether there is {a}.",
        "Would I find {a} in this picture?",
        "Is {a} in the picture?",
        "Are there any {x}?",
        "Are there any {x} in the picture?",
        "Are there {x} in this image?",
        "Do you see any {x}?",
        "Can you spot {a}?",
    ),
}

COUNT: Table = {
    "Here {is} {t}: {n}.": (
        "How many {x} are there?",
        "How many {x} are in the picture?",
        "How many {x} are there in this image?",
        "How many {x} do you see?",
        "How many {x} can you see?",
        "How many {x} can you count?",
        "How many {x} does the picture show?",
        "How many {x}?",
        "Count the {x}.",
        "Please count the {x}.",
        "Can you count the {x}?",
        "Could you count the {x} for me?",
        "Tell me how many {x} there are.",
        "What is the number of {x}?",
        "Give me the number of {x} in the picture.",
        "I would like to know how many {x} there are.",
    ),
}

COLOUR: Table = {
    "{t} {is} {colour}.": (
        "What colour {is} {x}?",
        "Which colour {is} {x}?",
        "What colour {does} {x} have?",
        "What is the colour of {x}?",
        "Tell me the colour of {x}.",
        "Please tell me what colour {x} {is}.",
        "Can you tell me the colour of {x}?",
        "Which colour {does} {x} have?",
        "Do you know what colour {x} {is}?",
        "I want to know the colour of {x}.",
        "{x}: what colour {is} {it}?",
        "Name the colour of {x}.",
    ),
}

SIZE: Table = {
    "{t} {is} {size}.": (
        "How big {is} {x}?",
        "How large {is} {x}?",
        "What size {is} {x}?",
        "What is the size of {x}?",
        "{is} {x} big or small?",
        "{is} {x} small or large?",
        "Tell me how big {x} {is}.",
        "{is} {x} small, medium or large?",
        "How big {is} {x} in the picture?",
        "Can you tell me the size of {x}?",
        "{does} {x} look big or small?",
        "How much room {does} {x} take up?",
    ),
}

WHERE: Table = {
    "{t} {is} {place}.": (
        "In which part of the picture {is} {x}?",
        "Which part of the picture {is} {x} in?",
        "Describe where {x} {is}.",
        "Describe the position of {x}.",
        "What is the position of {x} in the picture?",
        "Where about in the picture {is} {x}?",
        "Tell me in words where {x} {is}.",
        "In which area of the image {is} {x}?",
        "On which side of the picture {is} {x}?",
        "Can you say where in the picture {x} {is}?",
        "In which corner or part {is} {x}?",
        "Roughly where {is} {x}?",
    ),
}

WHAT_RELATED: Table = {
    "{t} {is} {relation} {x}.": (
        "What is {relation} {x}?",
        "What do you see {relation} {x}?",
        "What can you see {relation} {x}?",
        "What is there {relation} {x}?",
        "Tell me what is {relation} {x}.",
        "Name everything {relation} {x}.",
        "Which things are {relation} {x}?",
        "Which objects are {relation} {x}?",
        "Show me what is {relation} {x}.",
        "Find everything {relation} {x}.",
        "Is anything {relation} {x}?",
        "Please list what is {relation} {x}.",
    ),
}

WHAT_FROM: Table = {
    "{t} {is} {relation} {list}.": (
        "What {is} {x} {relation}?",
        "What {is} {x} {relation} in the picture?",
        "Which things {is} {x} {relation}?",
        "Which objects {is} {x} {relation}?",
        "Tell me what {x} {is} {relation}.",
        "Can you tell me what {x} {is} {relation}?",
        "Do you know what {x} {is} {relation}?",
        "Please say what {x} {is} {relation}.",
        "Show me what {x} {is} {relation}.",
        "Name the things that {x} {is} {relation}.",
        "{x} {is} {relation} what?",
    ),
}

NEAREST: Table = {
    "{t} {is} closest to {x}.": (
        "What is closest to {x}?",
        "What is next to {x}?",
        "What is nearest to {x}?",
        "Which thing is closest to {x}?",
        "Which object is nearest to {x}?",
        "What do you see next to {x}?",
        "What is right beside {x}?",
        "Tell me what is closest to {x}.",
        "What lies nearest to {x}?",
        "Show me the thing next to {x}.",
        "Find the thing closest to {x}.",
        "Which thing is the nearest neighbour of {x}?",
    ),
}

CHECK_RELATION: Table = {
    "{t} {is} {relation} {u}.": (
        "{is} {x} {relation} {y}?",
        "{is} {x} {relation} {y} in the picture?",
        "Would you say that {x} {is} {relation} {y}?",
        "Tell me whether {x} {is} {relation} {y}.",
        "Is it true that {x} {is} {relation} {y}?",
        "Is it right that {x} {is} {relation} {y}?",
        "{x} {is} {relation} {y}, right?",
        "Can you check whether {x} {is} {relation} {y}?",
        "Am I right that {x} {is} {relation} {y}?",
        "Do you agree that {x} {is} {relation} {y}?",
    ),
}

CHECK_SIZE: Table = {
    "{t} {is} {comparison} than {u}.": (
        "{is} {x} {comparison} than {y}?",
        "{is} {x} {comparison} than {y} in the picture?",
        "Would you say that {x} {is} {comparison} than {y}?",
        "Tell me whether {x} {is} {comparison} than {y}.",
        "Is it true that {x} {is} {comparison} than {y}?",
        "{x} {is} {comparison} than {y}, right?",
        "Can you check whether {x} {is} {comparison} than {y}?",
        "Am I right that {x} {is} {comparison} than {y}?",
        "Do you agree that {x} {is} {comparison} than {y}?",
        "{does} {x} look {comparison} than {y}?",
    ),
}

REGION_NAME: Table = {
    "It is {a}.": (
        "What is {x}?",
        "What is this {x}?",
        "What is that: {x}?",
        "What is in {x}?",
        "What is shown in {x}?",
        "What do you see in {x}?",
        "What can you see in {x}?",
        "What does {x} show?",
        "What is inside {x}?",
        "Name {x}.",
        "Please name the thing in {x}.",
        "Tell me what {x} is.",
        "What is the name of the object in {x}?",
        "What kind of thing is {x}?",
        "Can you tell me what {x} is?",
        "Identify {x}.",
        "Which object is {x}?",
        "I drew a box: {x}. What is it?",
        "What is this? {x}",
        "What do you see here? {x}",
    ),
    "{A}.": (
        "{x}?",
        "{x}: what is it?",
        "Name {x} in one or two words.",
        "Give me a short name for {x}.",
        "In a word, what is {x}?",
        "Briefly, what is {x}?",
    ),
}

REGION_DESCRIBE: Table = {
    "{description}": (
        "Describe {x}.",
        "Describe {x} in detail.",
        "Please describe {x}.",
        "Tell me about {x}.",
        "Tell me more about {x}.",
        "What can you say about {x}?",
        "Give me a description of {x}.",
        "Give a detailed description of {x}.",
        "Can you describe {x}?",
        "Could you describe {x} for me?",
        "What does {x} look like?",
        "How would you describe {x}?",
        "Say something about {x}.",
        "Explain what is in {x}.",
        "Describe this. {x}",
        "Tell me about this. {x}",
    ),
}

REGION_LIST: Table = {
    "They are {t}, in this order.": (
        "What are {x}?",
        "Name {x}.",
        "What do you see in {x}?",
        "Tell me what {x} are.",
        "What is in {x}?",
        "Please name {x}.",
        "Can you name {x}?",
        "What are these: {x}?",
        "Which things are {x}?",
        "Identify {x}, please.",
        "Say what each of {x} is.",
        "What do {x} show?",
    ),
}

COMPARE_SIZE: Table = {
    "{t} {is} {comparison}.": (
        "Which is {comparison}, {x} or {y}?",
        "Which one is {comparison}, {x} or {y}?",
        "{x} or {y}: which is {comparison}?",
        "What is {comparison}, {x} or {y}?",
        "Of {x} and {y}, which one is {comparison}?",
        "Between {x} and {y}, which is {comparison}?",
        "Compare {x} and {y}. Which one is {comparison}?",
        "Tell me which is {comparison}, {x} or {y}.",
        "Look at {x} and {y}. Which is {comparison}?",
        "Which of {x} and {y} is {comparison}?",
        "Can you say which one is {comparison}, {x} or {y}?",
    ),
}

COMPARE_PLACE: Table = {
    "{t} {is} {relation} {u}.": (
        "Where is {x} relative to {y}?",
        "Where is {x} compared to {y}?",
        "Where is {x}, seen from {y}?",
        "How does {x} lie relative to {y}?",
        "What is the position of {x} relative to {y}?",
        "On which side of {y} is {x}?",
        "How are {x} and {y} placed?",
        "Where do I find {x} if I start from {y}?",
        "Describe where {x} is relative to {y}.",
        "In which direction from {y} is {x}?",
        "Look at {x} and {y}. Where does the first lie, seen from the second?",
    ),
}

COMPARE_SAME: Table = {
    "same": (
        "Are {x} and {y} the same?",
        "Are {x} and {y} the same kind of thing?",
        "Do {x} and {y} show the same thing?",
        "Is {x} the same kind of thing as {y}?",
        "Are {x} and {y} alike?",
        "Are these two the same, {x} and {y}?",
        "{x} and {y}: are they the same?",
        "Compare {x} and {y}. Are they the same kind of thing?",
        "Is there the same thing in {x} and {y}?",
        "Do you see the same kind of object in {x} and {y}?",
        "Tell me whether {x} and {y} are the same kind of thing.",
    ),
}

COMPARE_COLOUR: Table = {
    "same": (
        "Do {x} and {y} have the same colour?",
        "Are {x} and {y} the same colour?",
        "Is {x} the same colour as {y}?",
        "Are {x} and {y} of the same colour?",
        "Compare the colours of {x} and {y}. Are they the same?",
        "Does {x} have the same colour as {y}?",
        "Is the colour of {x} the same as that of {y}?",
        "Do the colours of {x} and {y} match?",
        "{x} and {y}: same colour?",
        "Tell me whether {x} and {y} have the same colour.",
    ),
}

SELECT: Table = {
    "{t}.": (
        "Which of {x} is {y}?",
        "Which one of {x} is {y}?",
        "{x}: which one is {y}?",
        "Look at {x}. Which is {y}?",
        "Among {x}, which is {y}?",
        "Tell me which of {x} is {y}.",
        "Out of {x}, which one shows {y}?",
        "Which of {x} shows {y}?",
        "I marked {x}. Which one is {y}?",
        "Pick {y} out of {x}.",
    ),
}

DESCRIBE_BRIEF: Table = {
    "brief": (
        "What is in the picture?",
        "What do you see?",
        "What do you see in this image?",
        "What can you see?",
        "What is in this image?",
        "What does the picture show?",
        "Describe the picture briefly.",
        "Give me a short description of the picture.",
        "Summarise the picture.",
        "What is shown here?",
        "Describe this image in one sentence.",
        "Tell me what you see.",
        "List everything in the picture.",
        "Name all the things in the image.",
        "Which things are in the picture?",
        "Which objects do you see?",
        "Caption this image.",
        "What is going on here?",
    ),
}

DESCRIBE_LONG: Table = {
    "long": (
        "Describe the picture in detail.",
        "Describe the image in detail.",
        "Please describe this picture in detail.",
        "Give me a detailed description of the picture.",
        "Tell me everything about this picture.",
        "Describe everything you see.",
        "Can you describe the image in detail?",
        "Could you describe the whole picture for me?",
        "Explain the picture thoroughly.",
        "Describe what you see, with positions.",
        "What is where in this picture?",
        "Write a long description of this image.",
        "Describe the scene from left to right.",
        "I cannot see the picture. Describe it for me in detail.",
    ),
}

BACKGROUND: Table = {
    "background": (
        "What is in the background?",
        "What do you see in the background?",
        "Describe the background.",
        "What does the background look like?",
        "What is behind the things?",
        "Where does the scene take place?",
        "What kind of place is this?",
        "What is the setting of the picture?",
        "Tell me about the background.",
        "What surroundings does the picture show?",
        "Which surroundings do you see?",
        "What is the background?",
    ),
}

FOLLOW_COLOUR: Table = {
    "{It} {is} {colour}.": (
        "What colour {is} {it}?",
        "Which colour {is} {it}?",
        "And what colour {is} {it}?",
        "And {its} colour?",
        "What colour {does} {it} have?",
        "What is {its} colour?",
        "Tell me {its} colour.",
        "Can you tell me {its} colour?",
        "Which colour {does} {it} have?",
        "{its} colour?",
        "Do you know what colour {it} {is}?",
    ),
}

FOLLOW_SIZE: Table = {
    "{It} {is} {size}.": (
        "How big {is} {it}?",
        "And how big {is} {it}?",
        "How large {is} {it}?",
        "{is} {it} big or small?",
        "What size {is} {it}?",
        "{is} {it} large or small?",
        "What is {its} size?",
        "And {its} size?",
        "Tell me how big {it} {is}.",
        "{does} {it} look big or small?",
    ),
}

FOLLOW_PLACE: Table = {
    "{It} {is} {place}.": (
        "In which part of the picture {is} {it}?",
        "Where about in the picture {is} {it}?",
        "Describe where {it} {is}.",
        "What is {its} position?",
        "And in which part of the picture?",
        "On which side {is} {it}?",
        "Can you say in words where {it} {is}?",
        "Tell me in words where {it} {is}.",
        "Roughly where {is} {it}?",
        "In which area of the image {is} {it}?",
    ),
}

FOLLOW_NAME: Table = {
    "It is {a}.": (
        "What is it?",
        "And what is it?",
        "What is that?",
        "What kind of thing is it?",
        "Tell me what it is.",
        "Can you tell me what it is?",
        "What is it called?",
        "Name it.",
        "Do you know what it is?",
        "So what is it?",
    ),
}

FOLLOW_COUNT: Table = {
    "Here {is} {t}: {n}.": (
        "How many of them are there?",
        "And how many of them are there?",
        "How many of those are there in the picture?",
        "How many of these do you see?",
        "How many of that kind are there?",
        "How many are there in all?",
        "How many such things are there?",
        "Count them.",
        "Can you count them?",
        "How many of those can you see in total?",
    ),
}

FOLLOW_OTHER: Table = {
    "other": (
        "And the other one?",
        "Where is the other one?",
        "What about the other one?",
        "Show me the other one.",
        "And where is the other one?",
        "Find the other one.",
        "Now the other one, please.",
        "Can you show me the other one?",
        "The other one?",
        "Point to the other one, too.",
    ),
    "others": (
        "And the others?",
        "Where are the others?",
        "What about the others?",
        "Show me the others.",
        "And where are the other ones?",
        "Find the other ones, too.",
        "Now the others, please.",
        "Can you show me the other ones?",
        "The others?",
        "Point to the rest of them.",
    ),
    "another": (
        "Is there another one?",
        "Is there another one like it?",
        "Are there any more?",
        "Are there more of them?",
        "Is that the only one?",
        "Is there one more?",
        "Do you see another one?",
        "Any others?",
        "Can you see any more of them?",
        "Is there a second one?",
    ),
}

FOLLOW_SUPERLATIVE: Table = {
    "{t} {is} the {superlative}.": (
        "Which one is the {superlative}?",
        "Which of them is the {superlative}?",
        "And which one is the {superlative}?",
        "Which is the {superlative} of them?",
        "Show me the {superlative} one.",
        "Where is the {superlative} one?",
        "Point to the {superlative} of them.",
        "Find the {superlative} one.",
        "Tell me which one is the {superlative}.",
        "The {superlative} one, please.",
    ),
}

FOLLOW_COLOURS: Table = {
    "From left to right: {colours}.": (
        "What colours are they?",
        "Which colours do they have?",
        "And what colours are they?",
        "What are their colours?",
        "And their colours?",
        "Tell me their colours.",
        "What colour is each of them?",
        "Name their colours from left to right.",
        "Which colour is each one?",
        "Can you tell me their colours?",
    ),
}

FOLLOW_RELATED: Table = {
    "{t} {is} {relation} {it}.": (
        "What is {relation} {it}?",
        "And what is {relation} {it}?",
        "What do you see {relation} {it}?",
        "Is anything {relation} {it}?",
        "Tell me what is {relation} {it}.",
        "Which things are {relation} {it}?",
        "Show me what is {relation} {it}.",
        "What else is {relation} {it}?",
        "And {relation} {it}?",
        "What can you see {relation} {it}?",
    ),
}

FOLLOW_NEAREST: Table = {
    "{t} {is} closest to {it}.": (
        "What is next to {it}?",
        "And what is next to {it}?",
        "What is closest to {it}?",
        "What is nearest to {it}?",
        "Which thing is closest to {it}?",
        "What do you see next to {it}?",
        "Show me the thing next to {it}.",
        "What is right beside {it}?",
        "And the thing closest to {it}?",
        "Tell me what is closest to {it}.",
    ),
}

TABLES: dict[str, Table] = {
    name.lower(): table
    for name, table in list(globals().items())
    if name.isupper() and isinstance(table, dict) and name != "TABLES"
}
"""Every table by its name in small letters."""
