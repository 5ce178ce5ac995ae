"""How scripts of PiCaS users find their pool: the file picasconfig.py somewhere on PYTHONPATH."""
import os

import picasconfig
from picas.clients import CouchDB


def connect():
    return CouchDB(
        url=os.environ.get("POOL_URL", picasconfig.PICAS_HOST_URL),
        db=picasconfig.PICAS_DATABASE,
        username=picasconfig.PICAS_USERNAME,
        password=picasconfig.PICAS_PASSWORD,
    )
