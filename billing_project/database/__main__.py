"""Stop a private server once nobody uses it: `python -m billing_project.database FOLDER`."""

import sys
from pathlib import Path

from billing_project.database.server import PrivateServer

if __name__ == "__main__":
    PrivateServer.at(Path(sys.argv[1])).keep_watch()
