"""`python -m backend` is the `segwild` command."""

import sys

from backend.cli import main

sys.exit(main())
