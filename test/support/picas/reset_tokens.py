"""reset_tokens.py DESIGN/VIEW [HOURS]: the tokens of a view that are locked for so long are free again, counted."""
import sys
import time

from pool import connect

design, view = sys.argv[1].split("/")
hours = float(sys.argv[2]) if len(sys.argv) > 2 else 0
database = connect()
tokens = []
for row in database.db.view(sys.argv[1]):
    token = database.db[row.key]
    if token["lock"] < time.time() - hours * 3600 + 1:
        token["lock"] = token["done"] = 0
        token["scrub_count"] = token["scrub_count"] + 1
        token["hostname"] = token["exit_code"] = ""
        token.pop("_attachments", None)
        tokens.append(token)
database.db.update(tokens)
print(len(tokens))
