"""`python -m tests.image FILE`: builds the image as the tests do and saves it, for a cluster to load."""

import sys

from tests.image.builds import build
from tests.image.engine import running_engine
from tests.image.standins import ensure_bases

if len(sys.argv) != 2:
    sys.exit(__doc__)
with running_engine() as engine:
    ensure_bases(engine)
    engine.run("save", "--output", sys.argv[1], build(engine, "alembic-job-test:job"))
