"""A film of six pictures: two scenes at the same time, then all of it put together."""

from headrace.blocks import Action, Job, Task, dumps

with Job("Film") as film:
    Action("mkdir -p pictures", _role="cmd")
    with Task("Scenes", parallel=True, _role="draw"):
        for scene in ("mill", "river"):
            with Task(scene, parallel=True):
                for number in range(3):
                    Action(scene=scene, number=number)
    with Task("Cut"):
        Action("cat pictures/*.txt > film.txt", _role="cmd")
        Action("grep -c . film.txt", _role="cmd")
        Action("The film is ready.")
    Action("rm -rf pictures film.txt", _role="cmd", _whenerror=True)

if __name__ == "__main__":
    print(dumps(film))
