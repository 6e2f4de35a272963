"""What the database's Jobs run. Nothing but Python's standard library, and no other module of this program.

Every command can be repeated: it looks at what is there, changes what differs, and says what it did.
"""
