"""Runs the pipeline with a MongoStore, and reads from MongoDB what it has left there.

python run.py [mongodb://HOST:PORT]
"""

import sys

from workers import difference, measure, pipeline

from headrace import HeadraceError


def main(address="mongodb://localhost:27017"):
    try:
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError
    except ImportError:
        print("Skipped: this example needs pymongo, which `pip install 'headrace[mongo]'` brings.")
        return 0
    try:
        MongoClient(address, serverSelectionTimeoutMS=2000).admin.command("ping")
    except PyMongoError:
        print(f"Skipped: no MongoDB server answers at {address}.")
        return 0
    return run(address)


def run(address):
    from headrace.stores import MongoStore

    store = MongoStore(address, database="headrace_example", document="id")
    try:
        ended = pipeline.run(workers=[measure, difference], store=store)
        print(f"the run: {ended.state}, {ended.results}")
        for saved in store.results("mill-pond"):
            print(f"in MongoDB: {saved.job} of run {saved.run}: {saved.result}")
    except HeadraceError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0 if ended.ok else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
