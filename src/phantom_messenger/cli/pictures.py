"""Pictures of groups, from files."""

from pathlib import Path

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.picture import MAX_PICTURE_BYTES


def read_picture(file: Path) -> bytes:
    """A picture for a group: no more of the file is read than shows that it is too large.

    Raises:
        UsageError: it is that; nothing here could make it smaller.
    """
    with file.open("rb") as opened:
        data = opened.read(MAX_PICTURE_BYTES + 1)
    if len(data) > MAX_PICTURE_BYTES:
        raise UsageError(
            f"this picture is larger than the {MAX_PICTURE_BYTES:,} bytes that a group's picture may have; make it "
            "smaller first, 64 by 64 pixels perhaps (the page does that by itself)"
        )
    return data
