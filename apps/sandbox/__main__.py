"""`python -m apps.sandbox`: the stand-in without Django."""

from __future__ import annotations

import argparse
import sys

from apps.sandbox import command

parser = argparse.ArgumentParser(prog="python -m apps.sandbox", description="A local stand-in for Cloudflare.")
command.add_arguments(parser)
chosen = parser.parse_args()
sys.exit(command.run(port=chosen.port, bind=chosen.bind, data_dir=chosen.data_dir, with_seed=chosen.seed))
