import json
import os
from pathlib import Path


def load() -> dict:
    name = os.environ.get("SHOP_ENV", "development")
    return json.loads(Path(f"config/{name}.json").read_text())
