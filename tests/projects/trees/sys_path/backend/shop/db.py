import os


def url() -> str:
    return os.environ["DATABASE_URL"]
