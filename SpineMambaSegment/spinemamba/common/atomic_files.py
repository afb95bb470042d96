"""Write one or several files atomically. Standard library only.

Partial files are written in a hidden folder beside the final path; see `scratch`.
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
    """Yield a temporary path, which is renamed to ``path`` if the block succeeds.

    A temporary path of `all_or_none` is yielded unchanged, because that function renames it.

    Args:
        path: File to write.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: As `all_or_none`.
    """
    if path.parent.name.startswith(SCRATCH):
        try:
            yield path
        except OSError as error:
            # Errors of write() have no file name, but the message needs one.
            error.filename = error.filename or os.fspath(path)
            raise
    else:
        with all_or_none([path], overwrite=overwrite) as partial:
            yield partial[path]


@contextmanager
def all_or_none(
    paths: Sequence[Path], *, overwrite: bool | Collection[Path] = True
) -> Iterator[dict[Path, Path]]:
    """Yield a temporary path for each file; all are renamed together if the block succeeds.

    Missing folders are created, and removed after a failure. Files get the mode of the umask.

    Args:
        paths: Files to write, all different.
        overwrite: Whether existing files may be replaced, or which of them.

    Raises:
        UserError: If a file cannot be written (OUTPUT_BAD, DISK_FULL); then no new file remains,
            and earlier files are restored.
    """
    created: list[Path] = []
    partial: dict[Path, Path] = {}
    try:
        with contextlib.ExitStack() as stack:
            targets = [target_of(path) for path in paths]
            folders: dict[Path, Path] = {}
            for number, (path, target) in enumerate(zip(paths, targets, strict=True)):
                if target.parent not in folders:
                    _make_folder(target.parent, created)
                    folders[target.parent] = stack.enter_context(scratch(target.parent))
                partial[path] = folders[target.parent] / f"{number}{ending(target)}"
            yield dict(partial)
            for part in partial.values():
                _finish(part)
            replaceable = set(paths if overwrite is True else overwrite or ())
            _rename_together(
                [
                    (target, partial[path], path in replaceable)
                    for target, path in zip(targets, paths, strict=True)
                ]
            )
            created.clear()
    except OSError as error:
        if not _is_about(error, paths):
            raise
        raise write_error(_path_of(error, partial) or paths[0], error) from error
    finally:
        for folder in reversed(created):
            # Another process may have written something there meanwhile.
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_together(contents: Mapping[Path, bytes], replaceable: Collection[Path] = ()) -> None:
    """Write several files, all or none; if one fails, earlier files are restored.

    Each file is read back and compared before any is renamed.

    Args:
        contents: Bytes by path.
        replaceable: Existing files that may be replaced.

    Raises:
        UserError: If a file exists and may not be replaced, or cannot be written (OUTPUT_BAD), or
            the disk is full (DISK_FULL).
    """
    if existing := [path for path in contents if path.exists() and path not in replaceable]:
        raise exists_error(existing)
    with all_or_none(list(contents), overwrite=replaceable) as partial:
        for path, data in contents.items():
            with whole_or_nothing(partial[path]) as part:
                part.write_bytes(data)
                if sha256(part.read_bytes()) != sha256(data):
                    raise OSError(errno.EIO, "the file reads back different")


def check_place(path: Path, *, overwrite: bool = False) -> None:
    """Check that a file can be written later, before hours of work.

    A file of this name is written in a hidden folder, with missing parent folders, and removed.

    Args:
        path: File to write later.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: If the file exists, is not a regular file, or cannot be written (OUTPUT_BAD,
            DISK_FULL).
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
        # Permissions as reported by file systems are not reliable; writing is.
        with scratch(folder) as hidden:
            trial = hidden / target.relative_to(folder)
            trial.parent.mkdir(parents=True, exist_ok=True)
            trial.write_bytes(bytes(4096))
    except OSError as error:
        raise write_error(path, error) from error


def target_of(path: Path) -> Path:
    """Return the absolute path of a file; symbolic links are followed, not replaced.

    Raises:
        OSError: If it is a folder, or a device or pipe, which renaming would replace.
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
    """Return the suffix of a file name in lower case, or "" if it is not an ordinary suffix."""
    lower = path.name.lower()
    for double in DOUBLE_ENDINGS:
        if lower.endswith(double):
            return double
    return path.suffix.lower() if PLAIN_ENDING.fullmatch(path.suffix.lower()) else ""


def check_spelling(path: Path) -> None:
    """Check that a path is valid UTF-8; image libraries abort the process if it is not.

    Raises:
        UserError: If it is not (INPUT_BAD).
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise UserError(
            f"The path {shown} is not valid UTF-8 text.", "Rename the file or the folder."
        ) from error


def exists_error(paths: Collection[Path]) -> UserError:
    """Return the error for existing files that may not be replaced."""
    names = ", ".join(sorted(path.name for path in paths)[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return UserError(
        f"{names}{more} already exist{'s' if len(paths) == 1 else ''}.",
        "Choose another folder or name, or allow replacing files (--overwrite).",
        Code.OUTPUT_BAD,
    )


def write_error(path: Path, error: OSError) -> UserError:
    """Return the user error for a file that cannot be written."""
    reason = str(error.strerror or error or type(error).__name__).rstrip(".")
    return UserError(
        f"Cannot write {path.name}: {reason}.",
        REMEDIES.get(error.errno, "Choose a folder that you may write to."),
        Code.DISK_FULL if error.errno in NO_ROOM else Code.OUTPUT_BAD,
    )


def failed_write_error(path: Path, message: str) -> OSError:
    """Return the cause of a failed write of a library, found by writing bytes to the same folder.

    Args:
        path: File that the library tried to write; may exist in part.
        message: Message of the library, used if writing bytes succeeds.
    """
    written = path.stat().st_size if path.exists() else 0
    try:
        with path.with_name("trial").open("wb") as file:
            # More than the library has written, because file sizes may be limited, too.
            for _ in range(written // TRIED_BYTES + 1):
                file.write(os.urandom(TRIED_BYTES))
                file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return OSError(error.errno, error.strerror, os.fspath(path))
    return OSError(errno.EIO, message, os.fspath(path))


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes as a hexadecimal string."""
    return hashlib.sha256(data).hexdigest()


def _make_folder(folder: Path, created: list[Path]) -> None:
    """Create a folder and its parents; append each new folder to ``created`` at once."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent, created)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        created.append(folder)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")


def _check_replaceable(target: Path) -> None:
    """Raise PermissionError if a file is immutable, as after ``chattr +i``."""
    try:
        os.close(os.open(target, os.O_WRONLY))
    except PermissionError as error:
        # A read-only file can still be replaced.
        if error.errno == errno.EPERM:
            raise


def _finish(part: Path) -> None:
    """Flush a file to the disk, and give it the mode of a new file.

    Some libraries create files that only the owner can read, whatever the umask is.
    """
    handle = os.open(part, os.O_RDWR)
    try:
        # Some systems report a full disk only now.
        os.fsync(handle)
    finally:
        os.close(handle)
    new = part.with_name("new")
    os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o666))
    mode = stat.S_IMODE(new.stat().st_mode)
    new.unlink()
    if stat.S_IMODE(part.stat().st_mode) != mode:
        # Some file systems have no modes.
        with contextlib.suppress(PermissionError):
            part.chmod(mode)


def _rename_together(files: Sequence[tuple[Path, Path, bool]]) -> None:
    """Rename partial files to their targets, all or none.

    Args:
        files: Target, existing partial file, and whether the target may be replaced.
    """
    backups = {part: part.with_name(f"before-{part.name}") for _, part, _ in files}
    several = files if len(files) > 1 else ()
    try:
        for target, part, _ in several:
            if target.exists():
                _back_up(target, backups[part])
        for target, part, overwrite in files:
            _rename(part, target, overwrite=overwrite)
    # Also after KeyboardInterrupt.
    except BaseException:
        for target, part, _ in several:
            if not part.exists() or (target.exists() and target.samefile(part)):
                # A failure to restore one file must not prevent restoring the others.
                with contextlib.suppress(OSError):
                    _restore(target, backups[part])
        raise


def _rename(part: Path, target: Path, *, overwrite: bool) -> None:
    """Rename a partial file to its target.

    Raises:
        UserError: If the target exists and may not be replaced (OUTPUT_BAD).
    """
    if overwrite:
        part.replace(target)
        return
    try:
        # Unlike a check followed by a rename, this is safe if two runs end at the same time.
        os.link(part, target)
        part.unlink()
    except FileExistsError:
        raise exists_error([target]) from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise exists_error([target]) from None
        part.replace(target)


def _back_up(path: Path, backup: Path) -> None:
    """Link or copy a file to a second path; the original stays."""
    try:
        os.link(path, backup)
    except OSError:  # a file system without hard links
        shutil.copy2(path, backup)


def _restore(target: Path, backup: Path) -> None:
    """Restore the earlier content of a file, or remove the file if there was none."""
    if not backup.exists():
        target.unlink(missing_ok=True)
        return
    try:
        backup.replace(target)
    except OSError:  # the folder has become read-only, but the file is writable
        shutil.copyfile(backup, target)


def _path_of(error: OSError, partial: Mapping[Path, Path]) -> Path | None:
    """Return the final path of the file named in an error, or None."""
    for path, part in partial.items():
        if os.fspath(part) in (error.filename, error.filename2):
            return path
    return None


def _is_about(error: OSError, paths: Sequence[Path]) -> bool:
    """Return whether an error is about the files to write, not about another file."""
    if not isinstance(error.filename, str) or SCRATCH in error.filename:
        return True
    named = Path(error.filename).absolute()
    return any(named in (path.absolute(), *path.absolute().parents) for path in paths)
