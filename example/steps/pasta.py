"""Pasta al pomodoro e basilico, as steps that depend on each other."""

import sys
from pathlib import Path

from headrace.steps import Context, Step

PANTRY = Path("pantry")


class Cook(Step):
    """What all steps here have in common. It has no `run`, so it is no step that could run itself."""

    def say(self, text):
        print(f"... {self}: {text}")


class BoilWater(Cook):
    def __init__(self, litres, **options):
        super().__init__(**options)
        self.litres = litres

    def run(self):
        self.say(f"{self.litres} litres")
        return {"water": "boiling", "litres": self.litres}


class Salt(Cook):
    def run(self, pot):
        self.say(f"{pot.litres * 10} grams")
        return {**pot, "water": "salty"}


class PourPasta(Cook):
    def run(self, pot):
        self.say(f"into {pot.water} water")
        return "pasta"


class BrownOnions(Cook):
    def run(self):
        self.say("slowly")
        return "onions"


class CutTomatoes(Cook):
    def run(self, onions):
        self.say("while there is time")
        return ["tomato"] * 3


class PourTomatoes(Cook):
    def run(self, tomatoes, onions):
        self.say(f"over the {onions}")
        return {"sauce": [onions, *tomatoes]}


class PickBasil(Cook):
    def run(self):
        self.say("from the window")
        return "basil"


class PanFry(Cook):
    def run(self, pasta, tomatoes, basil):
        return {"output": [pasta, *tomatoes.sauce, basil]}


ctx = Context.load(PANTRY) if PANTRY.exists() else Context()

water = BoilWater(litres=2)
brown_onions = BrownOnions()
cut_tomatoes = CutTomatoes(depends_on=brown_onions)
pour_tomatoes = PourTomatoes(depends_on=[cut_tomatoes, brown_onions], ctx=ctx)
salt = Salt(depends_on=water)
pasta = PourPasta(depends_on=salt)
basil = PickBasil()
merge = PanFry(depends_on=[pasta, pour_tomatoes, basil])


def main(where):
    merge.execution_plan()
    if where == "cluster":
        from headrace import PipelineManager

        with PipelineManager() as manager:
            lunch = merge.materialize(manager, timeout=60)
    else:
        lunch = merge.materialize(executor=where)
    print(*lunch.output, sep=", ")
    if not PANTRY.exists():
        ctx.store(PANTRY)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
