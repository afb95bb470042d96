"""``spinemamba networks``: the named sizes of the network."""

from __future__ import annotations

import argparse

from spinemamba.cli.console import print_line, table

_HEADS = ("network", "patch", "channels", "RVM", "VSP", "M parameters", "GMAC", "of these scans")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print a table."""
    print_line(table(_HEADS, _rows()))
    print_line("GMAC: 10^9 multiply-adds for one patch.")
    return 0


def _rows() -> list[list[str]]:
    """Return a row for each named size."""
    from spinemamba.network.config import SIZES
    from spinemamba.network.size import network_size

    table_rows = []
    for name, config in SIZES.items():
        size = network_size(config)
        layers = "-".join(map(str, config.encoder_rvm))
        back = "-".join(map(str, reversed(config.decoder_rvm)))
        cells = (
            name,
            "x".join(map(str, config.patch_vox)),
            "-".join(map(str, config.channels)),
            f"{layers} | {back}",
            "-".join(map(str, config.vsp_stages)),
            f"{size.parameters / 1e6:.2f}",
            f"{size.macs / 1e9:.1f}",
            f"{size.scan_macs / 1e9:.2f}",
        )
        table_rows.append(list(cells))
    return table_rows
