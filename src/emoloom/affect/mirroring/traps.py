"""Word lists of the mirroring of texts: grammar that it builds on, and what no rewrite survives."""

from __future__ import annotations

from emoloom.affect.modifiers import CONTRAST, DIMINISHERS, INTENSIFIERS, NOT_NEGATING


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(phrase.split()) for phrase in text.split("|"))


BE = _words("am is are was were be been being im youre theyre")
BE_ENDINGS = ("'m", "'re", "'s")
MODALS = _words("can could will would should may might must")
AUXILIARIES = MODALS | _words("do does did to")
LINKS = {
    "feel": ("feels", "felt"), "look": ("looks", "looked"), "seem": ("seems", "seemed"), "taste": ("tastes", "tasted"),
    "sound": ("sounds", "sounded"), "smell": ("smells", "smelled"), "make": ("makes", "made"),
    "find": ("finds", "found"), "have": ("has", "had"), "get": ("gets", "got"), "act": ("acts", "acted"),
}  # fmt: skip
"""Base form to third person and past of verbs that an adjective or a noun may follow."""
LINK_FORMS = frozenset(form for base, forms in LINKS.items() for form in (base, *forms))
SUBJECTS = _words("i you we they he she it who everyone everybody people that which u")
OBJECTS = _words("it this that you my the his her your these those them him our how me us")
DETERMINERS = _words("a an the my your his her its our their this that these those such some any no what")
DEGREE_ADVERBS = INTENSIFIERS | DIMINISHERS
SKIPPED = DEGREE_ADVERBS | _words(
    "also still always just even now already all both not never have has had been fully thoroughly greatly genuinely"
)
"""Words that may stand between a subject, or a form of `be`, and what is said of it."""
MOVABLE = _words("really very so particularly truly a an the my your")
"""What may stand between `is` and an adjective that is to be negated."""
GAP = SKIPPED | LINK_FORMS | DETERMINERS | BE
"""What may stand between a negator and the word that it negates."""
NO_REMOVAL_BEFORE = _words("that so all too")
"""`not that good`, `not so good`: without the negator the word after it has no sense, or another."""
WITH_NEGATION_ONLY = _words("any anymore either yet ever anyone anything anybody much even neither nor at all too")
"""Words that read wrong once the negation is gone (`I like it anymore`)."""
WITHOUT_NEGATION_ONLY = _words(
    """
    some someone something already too also quite pretty such always most best rather and still just definitely both
    absolutely completely totally extremely incredibly super fucking freaking damn or
    """
)
"""Words that read wrong, or mean another thing, once a negation stands before them."""
BARELY = _words("really truly fully thoroughly greatly completely totally genuinely")
BARELY_VERBS = _words("enjoy trust appreciate respect support")
"""Verbs that `barely` turns as `really` strengthens them."""
AFTER_FEELING = _words("about with for of to in by at today tonight")
"""What may follow a feeling: what it is about. Anything else tells why."""
NOT_AFTER_PREDICATE = _words("now there here back away next")
"""What follows `right` and the like where they are no adjective (`is right here`)."""
AGREEING = _words("agree disagree")
AFTER_AGREEING = frozenset(("", "with", "completely", "totally", "entirely", "wholeheartedly"))
LIKING = _words("like dislike")
BEFORE_LIKING = _words("i you we they u who do did would never")
BARE_QUALITY = _words("good bad")
"""Adjectives that people also use as adverbs of degree (`I want it so bad`)."""
COMMON = _words("like well right true support care miss understand respect trust")
"""Words of the table that are so often something else that they may stand in a text unmirrored."""

HEDGES = CONTRAST | _words(
    """
    although though except unless if because cause cuz bc since until till while instead despite otherwise whereas
    wish pray hope hopefully hopes hoping supposed pretend pretending imagine maybe perhaps would've could've should've
    lmao lmfao lul kek jk sarcasm sarcastic ironic ironically unironically irony xd wow ha why enough
    than when whenever after before unlike nothing nobody none nowhere without neither nor whether thanks thank
    congrats congratulations sorry sry rip welcome used once almost nearly lest lack supposedly somehow even least less
    updoot upvote upvotes upvoted downvote downvotes downvoted agreed relatable worthy mighty pompous odd dubious
    challenging
    """
)
"""Contrast, conditions, reasons, wishes, laughter, and affective slang that lexica lack."""
PHRASES = NOT_NEGATING | _phrases(
    """
    good luck|good morning|good night|good evening|good afternoon|good day to
    |a good day|a great day|a good one|a great one|a good time|a great time|good bye|good for you|good for him
    |good thing|good guy|good guys|bad guy|bad guys|for good|good old|good ol|good as|good riddance|good grief|good god
    |good lord|too bad|good to go|good deal|good amount|my bad|not bad|bad boy|good samaritan|good faith|bad ass
    |good while|good chunk|good part|good bit|good at|bad at|pretty good|good catch|good with|good looking|good lookin
    |to the bone|nice try|nice catch|nice one|happy birthday|happy cake|happy new|happy holidays|merry christmas
    |happy to help|happy hour|happy as|happy ending|sad to say|sad as|best friend|best friends|best of luck
    |all the best|at best|my best|his best|her best|your best|their best|best man|best bet|best wishes|best interest
    |worst case|worse case|at worst|better off|had better|you better|i'd better|you'd better|better not|better half
    |the more|more and more|kind of|in love|my love|true love|love life|love story|make love|love interest|first love
    |love of|love for|would like|like to|i'd like|feel like|feels like|felt like|looks like|look like|sounds like
    |as well|oh well|well then|may as|might as|well known|fun fact|for fun|make fun|made fun|making fun|fun of
    |have fun|had fun|having fun|in fun|great uncle|great aunt|great grandma|great grandmother|great grandfather
    |great dane|great depression|great deal|great britain|can't help|can't stand|couldn't agree|couldn't be
    |can't be|couldn't have|never better|never been|can't believe|thank god|thank you|no longer|not sure|wrong with
    |right now|right there|right here|right away|right after|right before|all right|right back|wrong number
    |something wrong|bless you|bless your|god bless|common sense|sense of|super bowl|sweet tooth|cool down|calm down
    |cheer up|break a leg|free time|safe to|dangerous to|true story|my pleasure|be fair|be honest|fair share
    |black friday|sick of|dead serious|pretty sure|looking forward|look forward|couldn't care|could care|don't care
    |doesn't matter|don't mind|no one|yeah right|human nature|fan of|lost in|lost my|lost her|lost his|lost the
    |lost our|won the|won a|failed to|fail to|not fail|don't fail|respect to|with respect|self respect
    |trust me|believe me|believe it|believe in|on edge|my nerves|comfort zone|comfort food|hell of|hell yeah
    |guilty pleasure|want to|wanted to|miss out|care of|care about|care for|take care|support group|a shame|shame on
    |hot mess|hard to|difficult to|easy to|should be|should have|could have|would have|might be|may be|could be|must be
    |has to|have to|need to|ought to|used to|going to|gonna|wanna|trying to|to be|only|best so|icing on|the fact that
    |bad that|good that|bad for|funny how|props to|sadly i|sadly we|definition of|working on
    """
)
"""Set phrases and uncertain grammar; a text with one of them is left alone."""
TOPICS = _words(
    """
    dog dogs cat cats kitty puppy pup game games song songs album music movie movies film films show series episode
    season book books story food pizza meal dinner lunch breakfast cake coffee family friend friends mom mother dad
    father sister brother son daughter wife husband girlfriend boyfriend grandma grandmother grandpa grandfather kid
    kids child children baby home house apartment room car school teacher job work boss company team player players
    coach park beach vacation trip holiday weekend day night morning evening today summer winter party wedding birthday
    christmas people person man woman guy guys girl girls boy world life city town country place store restaurant
    hotel neighborhood neighbor neighbors community idea ideas post posts comment comments thread subreddit sub video
    videos picture pictures photo art artist actor actress singer band voice name news weather view views garden yard
    choice decision advice answer question point points way time times thing things part lot look looks god lord
    mum parents cousin cousins aunt uncle niece nephew roommate friday monday saturday sunday water tea bread color new
    know think see meet hear say made make get play playing plays played watch read eat live really one
    money phone computer taste smell product quality price service staff gift present dress shirt hair eyes body
    """
)
"""What texts speak about. A lexicon finds `dog` pleasant; that a dog is bad is still the mirror of a good one."""
