"""A user who lives on another shard now. Importing this module makes psycopg raise what it declares."""

from psycopg import DatabaseError


class BucketClosedError(DatabaseError, code="SH001"):
    """The shard refused a write: the user's bucket is closed there, because it moves or has moved. Nothing was written.

    Read the contract anew and ask the shard that it names; while the bucket is on its way that one refuses as well,
    with the same error: try again for as long as the caller waits. A transfer keeps its id: what was carried out before
    is answered, not repeated.
    """

    @property
    def shard(self) -> str:
        """Where the users of the bucket live, or will when it has arrived."""
        return self.diag.message_detail or ""
