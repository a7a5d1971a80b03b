"""What SegWild is measured with, and what was measured, as JSON lines.

Owns scenes, yardsticks and tables. Imports the backend through its public names and is imported by nothing.
"""

import backend  # noqa: F401  before a benchmark imports torch: threads that wait sleep, as in the program
