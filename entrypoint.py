"""What the image runs: `alembic-job` with the words given, or `migrate` when none are.

An application's own image can carry the job too: with this file's folder copied in, run it by the application's Python.
The job's packages then come behind the application's, so that none of these is replaced, not even psycopg2.
"""

import sys


def find_job() -> None:
    """Puts the packages that lie beside this file last on the path, where they are not on it anyway."""
    folder = __file__.rpartition("/")[0]
    packages = f"{folder}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    if packages not in sys.path:
        sys.path.append(packages)


def words() -> list[str]:
    """The command line; `docker run IMAGE db status` is `docker run IMAGE status`, as at the desk."""
    given = sys.argv[1:]
    return given[1:] if given[:1] in (["db"], ["alembic-job"]) else given


if __name__ == "__main__":
    find_job()
    try:
        from alembic_job.main import main  # with few imports before it: it is what holds the signals back
    except ModuleNotFoundError as error:
        if error.name != "alembic_job":
            raise
        sys.exit(f"alembic-job is not there for this Python ({sys.path[-1]}): install it with pip instead")
    sys.exit(main(words(), default="migrate"))
