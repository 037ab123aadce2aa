"""Files that stand in the place of others: pointers of Git LFS, web pages, empty files.

A download that went wrong leaves them under the right name, and the libraries that read the file then complain of
headers and characters. What is found here says what happened, and with it what to do.
"""

import re
from pathlib import Path

_HEAD = 2048  # bytes that are looked at
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body|\?xml)", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,200})", re.IGNORECASE)


def stand_in(path: Path) -> str | None:
    """What a file is, where it is not the file that its name promises, and how to get that one.

    Args:
        path: the file; it may be a link whose target is gone.

    Returns:
        A predicate and a remedy to put behind the file's name, such as "is empty (0 bytes); fetch it again"; None
        where nothing of the kind is found.

    Raises:
        OSError: the file cannot be read.
    """
    if path.is_symlink() and not path.exists():
        return "is a link to a file that is not there; fetch it again"
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        return "is no regular file, but a folder, a pipe or a device; replace it"
    with path.open("rb") as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
    if not head:
        return "is empty (0 bytes); fetch it again, and look whether the disk is full"
    if head.startswith(_LFS):
        size = re.search(rb"^size (\d+)", head, re.MULTILINE)
        real = f" of {int(size[1][:20]):,} bytes" if size else ""
        return f"is a Git LFS pointer, which only names a file{real}; run `git lfs pull` in its folder"
    if head.startswith(b"/annex/objects/"):
        return "is a git-annex pointer, which only names a file; run `git annex get` in its folder"
    if _PAGES.match(head):
        title = _TITLE.search(head)
        named = f" titled {' '.join(title[1].decode('utf-8', 'replace').split())[:60]!r}" if title else ""
        return (
            f"is a web page{named}, which a server sent in the place of the file; download the file itself, logged in "
            "where that is needed (`hf auth login`)"
        )
    return None
