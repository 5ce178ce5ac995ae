"""delete_tokens.py DESIGN/VIEW"""
import sys

from pool import connect

database = connect()
n = 0
for row in list(database.db.view(sys.argv[1])):
    database.db.delete(database.db[row.key])
    n += 1
print(n)
