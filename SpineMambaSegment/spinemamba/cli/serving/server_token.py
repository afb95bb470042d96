"""``spinemamba server-token add|list|revoke FILE``: who may use the server."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from spinemamba.cli.console import print_line, table
from spinemamba.server.tokens import NAME, add_token, read_tokens, revoke_token


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    helps = {
        "add": "make a token for a client, and print it once",
        "list": "list names and days of all tokens",
        "revoke": "make a token invalid, also on a running server",
    }
    for action, text in helps.items():
        command = actions.add_parser(action, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("file", type=Path, help="token file")
        if action != "list":
            command.add_argument("name", type=_name, help="name of the client, such as ct-room-2")


def run(args: argparse.Namespace) -> int:
    """Change or list the tokens."""
    if args.action == "add":
        print_line(add_token(args.file, args.name))
    elif args.action == "revoke":
        revoke_token(args.file, args.name)
        print_line(f"Revoked '{args.name}'.")
    else:
        rows = [(entry.name, entry.created) for entry in read_tokens(args.file).tokens]
        print_line(table(("name", "made on"), rows))
    return 0


def _name(text: str) -> str:
    if re.fullmatch(NAME, text) is None:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a name of at most 40 letters, digits, dots, hyphens and underscores"
        )
    return text
