"""Words of persons and of feelings, written for this project."""

import re

from eval.scoring.words import listed


def pattern(*choices: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(choices) + r")(?![a-z])")


SHE = pattern(
    r"she|she's|she'd|she'll|her|hers|herself|mom|mum|mommy|mother|wife|sister|daughter|girl",
    r"girlfriend|grandma|granny|nan|nana|grandmother|aunt|auntie|niece|lady|woman|mrs|ms|fiancee",
)
HE = pattern(
    r"he|he's|he'd|he'll|him|his|himself|dad|daddy|father|husband|brother|son|boy|boyfriend",
    r"grandpa|granddad|grandad|grandfather|uncle|nephew|guy|man|gentleman|lad|mr",
)

# Only a start: `learn` moves each word's weight to what our dialogues say of it.
PAINFUL = listed(
    """
    abandoned abuse accident accused afraid alone ambulance angry annoying anxious ashamed awful
    awkward bad beaten betrayed bill bitten bleeding blood boring broke broken bullied burglar
    burned cancer cheated chemo cockroach complained crash crashed creepy cried cruel cry crying
    cut dead death debt denied depressed destroyed devastated diagnosed died disappointed
    disgusting disrespect divorce dying embarrassed empty evicted fail failed fell fight fired flat
    flooded forgot freaked funeral furious grave gross guilty hate hated homeless hospital hurt
    ignored injured insulted jealous jail killed laid late laughed layoff leaving left lied lies
    lonely lost mad mean mess miserable miss missed missing mistake mold mugged nervous nightmare
    noise pain panic poor rat regret rejected robbed rotten rude ruined sad scared scary
    screamed screaming sick sleepless smell smelled sneaky spider spilled spoiled stabbed starving
    stole stolen stress stressed struggling stuck stupid suffering surgery terrible terrified
    thief threw throw tired trash trouble ugly unfair unfaithful upset vomit waste weird worried
    worse worst wrecked wrong yelled
    """
)
DELIGHTFUL = listed(
    """
    accepted admire adopted amazing award awesome baby beach beautiful best birthday bonus
    breakthrough brave brilliant cake calm celebrate celebrating champion cheerful christmas
    comfortable concert confident congratulations cozy cute dance dancing delicious delighted
    degree dream earned easy engaged enjoy enjoyed enjoying excited exciting fantastic favorite
    finally finished free friends friendly fun fiance gift glad goal gorgeous graduate graduated
    graduation grateful great growing grew happy healed healthy helped helpful holiday hope hopeful
    hug impressed improved incredible joy kind kitten laughing learned love loved lovely loyal
    lucky married marry medal nice offered paid party peaceful perfect picnic play pleased
    pregnant prepared present prize progress promoted promotion proposed proud puppy raise ready
    recovered relaxed relaxing relief reunion safe saved scholarship score scored smile smiled
    smiling song special success sunny sunshine supportive surprise surprised sweet talented
    thank thankful thanks thoughtful thrilled ticket tickets together top trip trust trusted
    vacation victory warm wedding welcome win winning won wonderful
    """
)
