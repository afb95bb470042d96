"""Write files whole or not at all, one or several. Standard library only.

What is written first lies in a hidden folder beside the file; see `scratch`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from spinemamba.common.errors import Code, UserError
from spinemamba.common.scratch import SCRATCH, scratch

DOUBLE_ENDINGS = (".seg.nrrd", ".nii.gz")
PLAIN_ENDING = re.compile(r"\.[a-z0-9]{1,8}")

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_ROOM = (*FULL, errno.EFBIG)
REMEDIES = {
    **dict.fromkeys(FULL, "Free some disk space."),
    errno.EFBIG: "Raise the limit on the size of files, or choose another disk.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EISDIR: "Choose another name.",
    errno.ENOTDIR: "Choose another folder.",
    errno.EINVAL: "Choose another name.",
    errno.EIO: "Choose a folder on another disk.",
}
TRIED_BYTES = 1 << 20


@contextmanager
def whole_or_nothing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary name, which becomes ``path`` when all went well.

    A path that `all_or_none` gave is written as it is: it becomes the user's together with others.

    Raises:
        UserError: As `all_or_none`.
    """
    if path.parent.name.startswith(SCRATCH):
        try:
            yield path
        except OSError as error:
            # Errors of writing name no file, and the user shall read which one it was.
            error.filename = error.filename or os.fspath(path)
            raise
    else:
        with all_or_none([path], overwrite=overwrite) as partial:
            yield partial[path]


@contextmanager
def all_or_none(
    paths: Sequence[Path], *, overwrite: bool | Collection[Path] = True
) -> Iterator[dict[Path, Path]]:
    """Give a temporary name for each path; all get their own names when all went well.

    Missing folders are made, and go again if it fails. Files get the mode that the umask asks for.

    Args:
        paths: Files to write, all different.
        overwrite: Whether they may be there already, or which of them.

    Raises:
        UserError: If one cannot be written (OUTPUT_BAD, DISK_FULL); then none is left, and what
            was there before is there again.
    """
    made: list[Path] = []
    partial: dict[Path, Path] = {}
    try:
        with contextlib.ExitStack() as stack:
            targets = [target_of(path) for path in paths]
            folders: dict[Path, Path] = {}
            for number, (path, target) in enumerate(zip(paths, targets, strict=True)):
                if target.parent not in folders:
                    _make_folder(target.parent, made)
                    folders[target.parent] = stack.enter_context(scratch(target.parent))
                partial[path] = folders[target.parent] / f"{number}{ending(target)}"
            yield dict(partial)
            for part in partial.values():
                _finish(part)
            may = set(paths if overwrite is True else overwrite or ())
            _name_together(
                [
                    (target, partial[path], path in may)
                    for target, path in zip(targets, paths, strict=True)
                ]
            )
            made.clear()
    except OSError as error:
        if not _is_about(error, paths):
            raise
        raise write_error(_meant(error, partial) or paths[0], error) from error
    finally:
        for folder in reversed(made):
            # Another process may have put something there meanwhile.
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_together(contents: Mapping[Path, bytes], replaceable: Collection[Path] = ()) -> None:
    """Write several files, all of them or none; what was there before comes back if one fails.

    Each is read again and compared before any gets its name.

    Args:
        contents: What goes where.
        replaceable: Files that may be there already.

    Raises:
        UserError: If one is there that may not be replaced, or one cannot be written
            (OUTPUT_BAD), or the disk is full (DISK_FULL).
    """
    if there := [path for path in contents if path.exists() and path not in replaceable]:
        raise exists_error(there)
    with all_or_none(list(contents), overwrite=replaceable) as partial:
        for path, data in contents.items():
            with whole_or_nothing(partial[path]) as part:
                part.write_bytes(data)
                if sha256(part.read_bytes()) != sha256(data):
                    raise OSError(errno.EIO, "what was written reads back different")


def check_place(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a file that could not be written where it shall go, before hours of work.

    The name is tried in a hidden folder, with the missing folders above it; nothing stays.

    Args:
        path: File to write later.
        overwrite: Whether it may be there already.

    Raises:
        UserError: If it is there, is no file, or cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    try:
        target = target_of(path)
        if target.exists():
            if not overwrite:
                raise exists_error([path])
            _check_replaceable(target)
        folder = target.parent
        while not folder.is_dir():
            if os.path.lexists(folder):
                raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
            folder = folder.parent
        # What the file system says of permissions is not always so; trying is.
        with scratch(folder) as trial:
            tried = trial / target.relative_to(folder)
            tried.parent.mkdir(parents=True, exist_ok=True)
            tried.write_bytes(bytes(4096))
    except OSError as error:
        raise write_error(path, error) from error


def target_of(path: Path) -> Path:
    """Return the file that a path leads to, absolute; a link is followed, not replaced.

    Raises:
        OSError: If it is a folder, or a device or pipe, which a new file would replace.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path.absolute()
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
    return target


def ending(path: Path) -> str:
    """Return how a file's name ends, in lower case, or "" if that is no ordinary suffix."""
    lower = path.name.lower()
    for double in DOUBLE_ENDINGS:
        if lower.endswith(double):
            return double
    return path.suffix.lower() if PLAIN_ENDING.fullmatch(path.suffix.lower()) else ""


def check_spelling(path: Path) -> None:
    """Refuse a path that is no text: the libraries that read and write images end the process.

    Raises:
        UserError: If its bytes are no UTF-8 (INPUT_BAD).
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise UserError(
            f"The path {shown} is not valid UTF-8 text.", "Rename the file or the folder."
        ) from error


def exists_error(paths: Collection[Path]) -> UserError:
    """Return the error that files exist which were not to be replaced."""
    names = ", ".join(sorted(path.name for path in paths)[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return UserError(
        f"{names}{more} already exist{'s' if len(paths) == 1 else ''}.",
        "Choose another folder or name, or allow that files are replaced (--overwrite).",
        Code.OUTPUT_BAD,
    )


def write_error(path: Path, error: OSError) -> UserError:
    """Return what the user can do about a file that cannot be written."""
    reason = str(error.strerror or error or type(error).__name__).rstrip(".")
    return UserError(
        f"Cannot write {path.name}: {reason}.",
        REMEDIES.get(error.errno, "Choose a folder that you may write to."),
        Code.DISK_FULL if error.errno in NO_ROOM else Code.OUTPUT_BAD,
    )


def failed_write_error(path: Path, said: str) -> OSError:
    """Return why a library could not write a file: libraries rarely say, so bytes are tried.

    Args:
        path: What the library has written, if anything.
        said: What it said, for where bytes can be written.
    """
    written = path.stat().st_size if path.exists() else 0
    try:
        with path.with_name("tried").open("wb") as file:
            # As many as were written, and some more: limits are on the size of a file, too.
            for _ in range(written // TRIED_BYTES + 1):
                file.write(os.urandom(TRIED_BYTES))
                file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return OSError(error.errno, error.strerror, os.fspath(path))
    return OSError(errno.EIO, said, os.fspath(path))


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it; add what was not there to ``made``, as it is made."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent, made)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        made.append(folder)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")


def _check_replaceable(target: Path) -> None:
    """Raise PermissionError if a file is protected against everybody, as with ``chattr +i``."""
    try:
        os.close(os.open(target, os.O_WRONLY))
    except PermissionError as error:
        # A file that may not be written can still be replaced.
        if error.errno == errno.EPERM:
            raise


def _finish(part: Path) -> None:
    """Bring a file to the disk, and give it the mode of a new file.

    Some libraries make files that only their owner may read, whatever the umask says.
    """
    handle = os.open(part, os.O_RDWR)
    try:
        # Some systems tell only now that the disk is full.
        os.fsync(handle)
    finally:
        os.close(handle)
    new = part.with_name("new")
    os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o666))
    mode = stat.S_IMODE(new.stat().st_mode)
    new.unlink()
    if stat.S_IMODE(part.stat().st_mode) != mode:
        # Some file systems know no modes.
        with contextlib.suppress(PermissionError):
            part.chmod(mode)


def _name_together(files: Sequence[tuple[Path, Path, bool]]) -> None:
    """Give partial files their names, or none of them.

    Args:
        files: Target, partial file, and whether the target may be there; every partial file is.
    """
    kept = {part: part.with_name(f"before-{part.name}") for _, part, _ in files}
    several = files if len(files) > 1 else ()
    try:
        for target, part, _ in several:
            if target.exists():
                _keep(target, kept[part])
        for target, part, overwrite in files:
            _name(part, target, overwrite=overwrite)
    # Also when the user interrupts.
    except BaseException:
        for target, part, _ in several:
            if not part.exists() or (target.exists() and target.samefile(part)):
                # What cannot be taken back must not keep the others.
                with contextlib.suppress(OSError):
                    _take_back(target, kept[part])
        raise


def _name(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give a partial file its name.

    Raises:
        UserError: If a file is there that may not be replaced (OUTPUT_BAD).
    """
    if overwrite:
        part.replace(target)
        return
    try:
        # Unlike a look and a rename, this lets one of two runs win that end together.
        os.link(part, target)
        part.unlink()
    except FileExistsError:
        raise exists_error([target]) from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise exists_error([target]) from None
        part.replace(target)


def _keep(path: Path, copy: Path) -> None:
    """Keep what a file holds under a second name; the first stays, whatever happens."""
    try:
        os.link(path, copy)
    except OSError:  # a file system without hard links
        shutil.copy2(path, copy)


def _take_back(target: Path, kept: Path) -> None:
    """Give a file its earlier content, or remove it if there was none."""
    if not kept.exists():
        target.unlink(missing_ok=True)
        return
    try:
        kept.replace(target)
    except OSError:  # a folder that has become read-only; the file in it has not
        shutil.copyfile(kept, target)


def _meant(error: OSError, partial: Mapping[Path, Path]) -> Path | None:
    """Return the user's file that an error is about, if it says so."""
    for path, part in partial.items():
        if os.fspath(part) in (error.filename, error.filename2):
            return path
    return None


def _is_about(error: OSError, paths: Sequence[Path]) -> bool:
    """Return whether an error is about writing files, not about another file that was read."""
    if not isinstance(error.filename, str) or SCRATCH in error.filename:
        return True
    named = Path(error.filename).absolute()
    return any(named in (path.absolute(), *path.absolute().parents) for path in paths)
